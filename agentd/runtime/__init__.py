"""PLACEHOLDER.

In reading order: a module imports only from what stands above it.

    dead_lettering    ends a task that nobody runs
    cancellation      ends a whole tree of work
    resume            hears decisions, and has tasks go on that waited for them
    presence          online, heartbeat, offline
    watchdog          notices that the event loop stands still
    agent_schedules   the schedules of agents, on the server as in their manifests
    housekeeping      streams, schedules and hints of work are as they should be
    revision_builder  makes revisions: models and tools, opened
    sharing           which endpoint asked to be left alone, told to all replicas
    runtime           apply(catalog): makes what runs equal to what the files say
    watch             sees edits and hands on the catalog they make
    health            /healthz, /readyz, /metrics
    host              everything that `agentd up` starts, in order
"""
