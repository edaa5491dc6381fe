"""PLACEHOLDER.

In reading order: a module imports only from what stands above it.

    answer   Prints an answer as it is made.
    console  What the terminal shows: tables, and one colour for each agent; plain text in a pipe.
    later    What `agentd ask` and `agentd send` do with `--at` and `--in`: the server sends it when due.
    options  The flags that several commands share, and how a command's coroutine is run.
"""
