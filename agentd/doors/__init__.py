"""The ways in over HTTP: one ASGI application for people, programs and webhooks.

A door maps requests onto tasks, streams, approvals and cancellation as they are, and keeps no state
of its own: any process serves any task.

A module imports only from modules listed below it.

    server        listens: uvicorn's connections on our event loop
    connection    one connection, to a client that may be slow, hostile or gone
    app           one application made of the doors
    connections   all connections: how many, and which have waited for too long
    guard         which requests may come in: the host, the origin, the caller
    api           `/api`: tasks and agents for programs
    page          the page at `/`, for people
    openai        clients of OpenAI use agents as models
    triggers      tasks that begin with a webhook, a message of another program, or a new file
    health        liveness, readiness and metrics
    traffic       the requests that are being served: how many, and how large
    keys          the keys that this process accepts
    problem       a refused request as `application/problem+json`
    backend       what a door may use
    event_stream  a response of server-sent events
    key_file      the file of keys, which `agentd keys` writes
    ending        the end of the process, and the work that it ends early
    caller        who asks, and what they may
    well_formed   which requests have one meaning for everyone who reads them
    limits        how much a caller may send and hold, and how long it may take
    refusal       a request that is not served, and why
"""
