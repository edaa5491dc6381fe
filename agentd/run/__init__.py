"""From an admitted message to an answer.

A module imports only from what stands below it.

    loop           from an admitted message to an answer: model, tools, model …
    tool_calls     the tool calls of one turn
    approval_gate  which calls a person must agree to first
    model_call     one call of a model, measured, its failures on record
    conversation   the chat that a run begins with
    context        what a run may use
    memory         what is on record of a conversation, summarised where it is long
    revision       an agent as one edit left it
    history        what was said before, and how much of it a model is shown
    budget         what a task may spend: set aside before a call, settled after it
    output         the value that an answer is, or what is wrong with it
    attachments    images and files in a task, handed to its model
    account        what a conversation has spent: the arithmetic
    deadline       until when a task may be worked on
"""
