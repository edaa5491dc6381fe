"""The agents of a folder as a whole: who emits, who takes, who subscribes, what is wrong.

A module imports only from what stands below it.

    check           all that is odd about the agents of a folder together
    explain         who would take a message, and why the others would not
    tasks           work that leads nowhere: tasks nobody takes, names nobody has, agents nobody
                    reaches
    joins           joins that cannot complete: they wait for more than can come, or for siblings
                    nobody makes
    graph           the topology as nodes and edges, and as text for programs that draw them
    facts           facts that an agent waits for in vain, or hears of twice
    cycles          circles that nothing ends but the limit of hops
    flow            how work flows between the agents of a folder: who emits, who takes, who hears
    name_conflicts  two agents of one name
    members         what a topology is made of: agents, what they may emit, what they hear of, and
                    their runs
"""
