"""`agentd torture`: scenarios that break everything around agentd, and checks of its promises.

A module imports only from what stands below it.

    runner     plays scenarios, prints a line for each, and a summary as JSON
    scenarios  the scenarios: one file for each kind of fault, and the list of all
    scenario   what a scenario consists of: its name, its function and its size
    shocks     when something goes wrong, and which replica it happens to: so that it meets work
    harness    the surroundings of one scenario: nats-server, replicas, stub model, sender, findings
    evidence   reads from the server what a scenario has left there: tasks, results, dead letters
    findings   what a scenario has found: figures, and a sentence for each broken promise
    oracle     compares the evidence with the promises, and writes a sentence for each broken one
    processes  starts, signals, measures and restarts replicas of `agentd up`
    sender     sends tasks with known ids, and records which of them the server has accepted
    unsafe     removes one safeguard from a replica, to show that a scenario then fails
    zygote     a process that has imported agentd and forks replicas, because a fork starts faster
"""
