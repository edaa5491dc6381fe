"""All agents of a folder together: who emits, takes and subscribes, and warnings about it.

A module imports only from the modules below it.

    check           runs all checks of a topology
    explain         which agents would take a message, and why the others would not
    tasks           warnings: tasks that no agent takes, unknown names, agents that nothing reaches
    joins           warnings: joins that wait for more facts than can arrive
    picture         a graph as a picture for people: Mermaid and DOT
    graph           nodes and edges as JSON
    facts           warnings: subscriptions that no fact matches, or that overlap
    reach           which facts an emitted message can lead to
    cycles          warnings: cycles of agents that only `limits.hops` ends
    flow            `Topology`: publishers, takers and subscribers, and the runs that follow a run
    name_conflicts  errors: two files with an agent of the same name
    members         agents, emissions, subscriptions, runs and steps; what two patterns both match
"""
