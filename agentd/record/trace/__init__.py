"""The trace: from the records of a conversation to the tree of what happened.

A module imports only from those below it.

    reader      the trace of a task, a conversation or a message, from the index and the log
    tree        the tree of a conversation: every record has its place in it
    lineage     what each task followed from: a task, a tool call, an event, the facts of a join
    life        one life of a task: attempts, turns, approvals, its result
    turns       the turns of a life with their tool calls and the decisions on these
    grouped     the records of each task, and those that belong to no task
    entry       one record of the log, as a trace reads it
    node        one node of the tree
"""
