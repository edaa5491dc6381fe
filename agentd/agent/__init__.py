"""A delivery, from here to its settlement.

A module imports only from what stands below it.

    agent           takes tasks, and runs each on the revision that is live at that moment
    handler         takes one delivery to its settlement: acknowledged, handed back
    facts           a fact that the agent subscribes to: added to its join, or turned into a task
    queries         answers queries: quick questions over request and reply
    attempt         one attempt at a task: lookup, admission, run, commit
    forward         sends a task on that is for another agent
    commit          stores a result with all that belongs to it, in one batch
    retry           decides whether a failed attempt is followed by another one, and when
    delivered_task  one delivered task with its revision, deadline, journal and memory
    joins           adds facts to joins, and starts the run of a join that is complete
    join_task       reads the facts of a join from the log, and makes its task of them
    stats           counts what an agent has done, for `agentd ps`
    services        what a process lends to its agents: bus, queue, budgets, metrics
    admission       checks that this agent may run this message
    emit            plans the tasks and events that follow an answer
    join_state      which facts a join has gathered, and whether it is complete
    outcome         a success or an error: what its result says, and how it is stored once
    stream          publishes deltas while the model writes
    fan_out         the fan-outs that facts came through, and what is still to come of them
"""
