"""The record: what is written of each task, and how it is read back.

A module imports only from those below it.

    task_calls  the model calls of a task, found by the index and read from the log
    audit       a Merkle tree over the log, with signed checkpoints: proves what is on record
    trace       from the records of a conversation to the tree of what happened
    tasks       tasks in one line each, as the index finds them
    forget      erases the contents of a conversation, wherever agentd has them
    tombstones  what says that a conversation was forgotten
    queries     what the index is asked: messages, tasks, conversations, costs
    index       the log in a SQLite database, built on demand
    changes     what changed between two revisions: their files, and the lines in these
    calls       the model calls of a task, read back whole
    revisions   the files of each revision, stored once when it goes live, and read back
    values      values of JSON that any client may have written
"""
