"""What several commands share: flags, connecting, tables, printing an answer.

A module imports only from modules listed below it.

    answer   prints an answer as it arrives: deltas, steps, the result
    later    sends a message later, for `--at` and `--in` of `agentd ask` and `agentd send`
    options  the flags that several commands share, and running a command's coroutine
    visit    runs the work of a command on a connection to the server
    console  tables on the terminal; plain text in a pipe
    gist     a message in one line
"""
