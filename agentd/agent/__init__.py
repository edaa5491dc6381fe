"""A delivery, from here to its settlement.

A module imports only from what stands below it.

    agent       takes tasks and runs each on the revision of the moment
    handler     one delivery, from here to its settlement
    facts       a fact that an agent hears of: joined, or run for
    queries     quick questions, answered at once
    joins       gathers an agent's facts, and runs once for what is complete
    attempt     one attempt: admitted, run, its outcome committed
    join_task   the facts that a join has gathered, and the task they make
    stats       what an agent has done so far
    services    what a process lends to its agents
    join_state  what a join has gathered so far: the arithmetic
    emit        what follows an answer: tasks and events
    retry       whether another attempt is worth it, and when
    admission   may this agent run this message?
    stream      the answer while it is made
    outcome     the one visible outcome, put on record
"""
