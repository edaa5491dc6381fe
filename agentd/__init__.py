"""agentd: a declarative runtime for LLM agents on NATS.

The map of the package. A package imports only from those below it; its own `__init__.py` is the map
of its modules, in the same order. import-linter enforces both.

    cli           the command `agentd`: one module per subcommand
    testing       real parts for tests: a stub model, a proxy that breaks connections, torture
    runtime       one process: keeps the running agents equal to the manifests
    doors         the ways in over HTTP: for people, programs and webhooks
    agent         a delivery, from here to its settlement
    run           from an admitted message to an answer
    tools         what a model may call
    record        what is written of each task, and how it is read back
    routing       which agent receives a task; the sender's side: ask, follow, gather
    catalog       a folder of files becomes agents, checked one by one and together
    queue         tasks and facts on NATS, until they are settled
    templates     what is filled in for each call: prompts, expressions, requests; within bounds
    telemetry     OpenTelemetry: spans and metrics, where the usual variables are set
    models        who answers: mocks, OpenAI-compatible endpoints, other providers through litellm
    nats          the connection to NATS, the embedded server, streams and buckets
    manifest      YAML to a checked manifest
    log           the log: one record a line, as text or JSON, without secrets
    settings      the settings of a process: flags and `AGENTD_*` variables
    protocol      the wire: messages, subjects, destinations
    background    work that cannot end unseen: restarted with backoff, and reported
    crash_points  named points at which a test can kill the process
    errors        the one error tree; it says what becomes of the message
    metrics       counters, durations and gauges for Prometheus
    printable     makes text of strangers safe to read on a terminal
    problems      a problem in a user's file: place, text, hint
"""

__version__ = "0.1.0"
