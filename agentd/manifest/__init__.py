"""YAML to a checked manifest: one agent as its file describes it.

A module imports only from what stands below it.

    file          one file with its folder's defaults and the environment
    reference     the manifest's JSON Schema and its reference
    diagnose      what pydantic says, with place and mend
    agent         one agent as its file describes it
    limits        a model, limits, retries
    tools         tools
    http          HTTP requests and OpenAPI documents
    mcp           MCP servers
    flow          emit, join, schedule
    model         A model in a manifest: its name, address, key, price, rates; and several to
                  choose from
    strict_model  what every part of a manifest is built on: a strict, immutable model
    quantities    durations, rates, names and topics as people write them
    rate          so much of something in so much time: the arithmetic
    json_schema   is a schema one, and does a value fit it?
    cron          cron expressions, checked as the server does
    files         all that the folders hold, read at once
    yaml          YAML from strangers: nodes that know their place, or problems
"""
