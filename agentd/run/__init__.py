"""From an admitted message to an answer.

A module imports only from what stands below it.

    loop           the run itself: turns of model and tools until there is an answer
    direct_call    a run without a model: one tool call, made of the message
    tool_calls     makes the tool calls of one turn, and records their answers
    repetition     notices the same tool calls again and again
    approval_gate  which tool calls need approval, and what was decided about them
    conversation   the first chat: prompt, history, and the message as the user turn
    model_call     one model call: measured, its failures recorded
    context        what a run may use: deadline, budget, journal, memory, reader
    memory         reads the exchanges of a conversation from the log, and stores summaries
    revision       one version of an agent: its spec, models and tools
    budget         reserves money before a model call, and settles it after
    sender         what the sender decides itself: parameters, tools of its own
    history        cuts the earlier exchanges to what the model is shown
    output         structured output: checks an answer, asks the model to correct it
    deadline       until when a task may be worked on
    context_size   what the contexts of models have been seen to take
    attachments    images and files in a task, passed to the model
    account        the account of a conversation: spent and reserved money
    spending       the tokens and the money that a task has used
"""
