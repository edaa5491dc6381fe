"""Torture for the promises of agentd: scenarios in which everything breaks, and an oracle.

A module imports only from what stands below it.

    runner     plays scenarios one after the other, and prints a line for each and a summary of all
    scenarios  the scenarios, a file for each kind of thing that goes wrong; this is the list of
               all
    scenario   what a scenario is: its name, its goal, the function that plays it, and how large it
               is
    harness    the world of one scenario: a nats-server, replicas, a model, a sender, and what was
               found
    evidence   reads back, when everything is at rest, what a scenario has left on the server
    oracle     holds what was accepted against what is on record, and says which promise is broken
    processes  the processes of a scenario: replicas of `agentd up`, forked from the zygote, and
               their insides
    sender     sends tasks with known ids, and keeps which of them the server has accepted
    unsafe     takes one safeguard out of a replica, to show that a scenario fails without it
    zygote     forks replicas of `agentd up` out of a process that has imported everything already
"""
