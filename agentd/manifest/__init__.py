"""PLACEHOLDER.

In reading order: a module imports only from what stands above it.

    files        all that the folders hold, read at once
    quantities   durations, rates, names and topics as people write them
    cron         cron expressions, checked as the server does
    json_schema  is a schema one, and does a value fit it?
    rate         so much of something in so much time: the arithmetic
    agent        one agent as its file describes it
    flow         emit, join, schedule
    mcp          MCP servers
    http         HTTP requests and OpenAPI documents
    tools        tools
    diagnose     what pydantic says, with place and mend
    file         one file with its folder's defaults and the environment
    reference    the manifest's JSON Schema and its reference
    limits       a model, limits, retries
"""
