"""One process: what runs is what the files say.

A module imports only from what stands below it.

    host              everything that `agentd up` starts, in order
    state_report      state, running tasks and stacks in the log, on SIGUSR1
    runtime           apply(catalog): makes what runs equal to what the files say
    housekeeping      streams, schedules and hints of work are as they should be
    cancellation      ends a whole tree of work
    health            /healthz, /readyz, /metrics
    watch             sees edits and hands on the catalog they make
    sharing           which endpoint asked to be left alone, told to all replicas
    revision_builder  makes revisions: models and tools, opened
    agent_schedules   the schedules of agents, on the server as in their manifests
    watchdog          notices that the event loop stands still
    presence          online, heartbeat, offline
    resume            hears decisions, and has tasks go on that waited for them
    dead_lettering    ends a task that nobody runs
    stacks            where asyncio tasks and threads are, as text
"""
