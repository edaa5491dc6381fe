"""Tasks and facts on NATS, until they are settled.

A module imports only from what stands below it.

    fact_consumer  what an agent hears of: its consumer for facts, and their doorbell
    approvals      tasks that wait for a person: laid by, and gone on with once
    journal        what happened to a task before its outcome
    dead_letters   dead letters
    queue          pulls what can be run, the most urgent first
    decisions      what people are asked about the calls of a task, and what they say
    bands          the tasks of one kind, and which priorities may hold some
    delivery       one task in our hands, settled exactly once
    in_progress    tells the server, from a thread, what is still worked on
    cancellations  conversations and tasks that a person stopped: nothing of them runs, until it is
                   undone
"""
