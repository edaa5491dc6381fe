"""PLACEHOLDER.

In reading order: a module imports only from what stands above it.

    in_progress    tells the server, from a thread, what is still worked on
    delivery       one task in our hands, settled exactly once
    bands          the tasks of one kind, and which priorities may hold some
    queue          pulls what can be run, the most urgent first
    fact_consumer  what an agent hears of: its consumer for facts, and their doorbell
    dead_letters   dead letters
    journal        what happened to a task before its outcome
    decisions      what people are asked about the calls of a task, and what they say
    approvals      tasks that wait for a person: laid by, and gone on with once
    stops          conversations that a person stopped
"""
