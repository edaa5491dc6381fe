"""One process: keeps the running agents equal to the manifests.

A module imports only from modules listed below it.

    host              starts everything that `agentd up` needs, in order, and stops it in reverse
    state_report      writes state, running tasks and stacks to the log on SIGUSR1
    runtime           applies a catalog: starts, reloads and removes agents; drains them
    advisories        dead-letters what the server will not deliver again
    housekeeping      recreates deleted streams, sweeps the queue, restores schedules
    cancellation      cancels a conversation, or a task and all that followed from it
    open_tasks        the tasks that have no outcome yet
    backlog           what waits in the environment, read for the metrics
    watch             watches the files and passes on each catalog that a change makes
    sharing           shares with other replicas: cooldowns, rate windows, answers kept for a while
    revision_builder  builds a revision: checks an agent's tools, opens its models and tools
    agent_schedules   keeps the schedules of agents on the server as the manifests define them
    watchdog          notices when the event loop is blocked, and logs where
    presence          publishes online, heartbeat and offline events, and updates the registry
    resume            resumes suspended tasks when their tool calls are decided
    dead_lettering    dead-letters tasks that no agent runs
    namesakes         finds agents of the same name in other processes
    stacks            the stacks of asyncio tasks and threads, as text
"""
