"""What the commands share: flags, tables, how an answer is shown.

A module imports only from what stands below it.

    answer   prints an answer as it is made
    options  the flags that several commands share, and how a command's coroutine is run
    later    what `agentd ask` and `agentd send` do with `--at` and `--in`: the server sends it
             when due
    console  what the terminal shows: tables, and one colour for each agent; plain text in a pipe
    gist     the gist of a message, for a line of a terminal
"""
