"""The commands that read the record back.

A module imports only from those below it.

    audit      `agentd audit`: verifies the log, exports proofs, cosigns checkpoints
    cost       `agentd cost`: sums up what tasks have cost
    forget     `agentd forget`: erases the contents of a conversation
    log        `agentd log`: lists the messages on record that fit, and follows new ones
    result     `agentd result`: prints the result of a task that is on record
    revisions  `agentd revisions`: lists, shows and compares the revisions on record
    trace      `agentd trace`: what happened in a task or a conversation, as a tree
    indexed    runs the work of a command on the index of the log
    picture    draws a trace: a line for each node, with a bar of its time
    past       a time in the past, as the flags of several commands give it
    words      the words for a node of a trace
"""
