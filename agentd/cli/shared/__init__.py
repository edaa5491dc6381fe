"""What several commands share: flags, connecting, tables, printing an answer.

A module imports only from modules listed below it.

    answer       prints an answer as it arrives: deltas, steps, the result
    submit       sends a message now or later, for `agentd send` and `agentd ask --at`
    status_line  shows on a terminal that a command still waits, and for what
    options      the flags that several commands share, and running a command's coroutine
    visit        runs the work of a command on a connection to the server
    console      everything that is printed: text for people, tables, JSON, answers
    clock        times for people: one form in all lists and answers
    cells        the columns of a terminal that a text takes
    calls        a tool call that waits for a person, in one line
"""
