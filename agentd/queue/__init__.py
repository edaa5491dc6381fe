"""Tasks and facts on NATS, until they are settled.

A module imports only from what stands below it.

    fact_consumer  the subscription of an agent to facts: its consumer on LOG, and their doorbell
    approvals      suspends a task until tool calls are approved, and resumes it once
    journal        the events of a task before its outcome: attempts, turns, tool answers
    dead_letters   dead letters: written, listed, sent again, dropped
    queue          pulls tasks: never more than can run, the most urgent first
    topic          what a task is about, signed, where its subject names an agent or a route
    decisions      approval requests and decisions, read back from the log
    bands          a route as one process sees it: ten priority bands, hints, and its consumers
    delivery       one task or fact in our hands: its headers, ids, and its settlement
    in_progress    reports held deliveries to the server, from a separate thread
    suspects       the turns of tasks that may have killed a process: few at first, then more
    cancellations  cancelled conversations and tasks: nothing of them runs
    held           what a stream holds: how much on which subjects, and the first message of some
"""
