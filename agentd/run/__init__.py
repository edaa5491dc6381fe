"""PLACEHOLDER.

In reading order: a module imports only from what stands above it.

    deadline       until when a task may be worked on
    account        what a conversation has spent: the arithmetic
    budget         what a task may spend: set aside before a call, settled after it
    attachments    images and files in a task, handed to its model
    memory         what is on record of a conversation, summarised where it is long
    history        what was said before, and how much of it a model is shown
    context        what a run may use
    revision       an agent as one edit left it
    conversation   the chat that a run begins with
    model_call     one call of a model, measured, its failures on record
    approval_gate  which calls a person must agree to first
    tool_calls     the tool calls of one turn
    output         the value that an answer is, or what is wrong with it
    loop           from an admitted message to an answer: model, tools, model …
"""
