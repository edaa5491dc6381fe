"""PLACEHOLDER.

In reading order: a module imports only from what stands above it.

    members         What a topology is made of: agents, what they may emit, what they hear of, and their runs.
    flow            How work flows between the agents of a folder: who emits, who takes, who hears.
    cycles          Circles that nothing ends but the limit of hops.
    facts           Facts that an agent waits for in vain, or hears of twice.
    graph           The topology as nodes and edges, and as text for programs that draw them.
    joins           Joins that cannot complete: they wait for more than can come, or for siblings nobody makes.
    name_conflicts  Two agents of one name.
    tasks           Work that leads nowhere: tasks nobody takes, names nobody has, agents nobody reaches.
    check           All that is odd about the agents of a folder together.
    explain         who would take a message, and why the others would not
"""
