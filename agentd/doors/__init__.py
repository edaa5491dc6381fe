"""The ways in over HTTP: one ASGI application for people, programs and webhooks.

A door maps requests onto tasks, streams, approvals and cancellation as they are, and keeps no state
of its own: any process serves any task.

A module imports only from modules listed below it.

    server   listens: uvicorn's connections on our event loop, within limits
    app      one application made of the doors
    guard    which requests may come in: the host, the origin, the caller
    health   liveness, readiness and metrics
    problem  a refused request as `application/problem+json`
    backend  what a door may use
    caller   who asks, and what they may
    refusal  a request that is not served, and why
"""
