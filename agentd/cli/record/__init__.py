"""The commands that read the record back.

A module imports only from those below it.

    audit      `agentd audit`: verifies the log, exports proofs, cosigns checkpoints
    revisions  `agentd revisions`: lists, shows and compares the revisions on record
    trace      `agentd trace`: what happened in a task or a conversation, as a tree
    indexed    runs the work of a command on the index of the log
    picture    draws a trace: a line for each node, with a bar of its time
    words      the words for a node of a trace
"""
