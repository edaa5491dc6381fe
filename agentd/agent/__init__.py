"""PLACEHOLDER.

In reading order: a module imports only from what stands above it.

    outcome     the one visible outcome, put on record
    stream      the answer while it is made
    admission   may this agent run this message?
    services    what a process lends to its agents
    retry       whether another attempt is worth it, and when
    stats       what an agent has done so far
    emit        what follows an answer: tasks and events
    attempt     one attempt: admitted, run, its outcome committed
    join_state  what a join has gathered so far: the arithmetic
    join_task   the facts that a join has gathered, and the task they make
    joins       gathers an agent's facts, and runs once for what is complete
    facts       a fact that an agent hears of: joined, or run for
    handler     one delivery, from here to its settlement
    queries     quick questions, answered at once
    agent       takes tasks and runs each on the revision of the moment
"""
