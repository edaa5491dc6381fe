"""What a model may call.

A module imports only from what stands below it.

    open          from a manifest's tools to those that can be called
    mcp_tool      the tools, resources and prompts of MCP servers
    openapi_tool  `openapi:`, the operations of a document as tools; one at a URL is fetched while
                  agents run
    command_tool  `command: [git, log, "-n", "{{ count }}"]`: a program with places for what a
                  model says
    http_tool     `http:`, a request with places for what a model says; and how any tool sends one
    mcp           MCP servers: started or reached, asked, restarted
    python_tool   `python: weather.py:forecast`: functions in the files of `tools/`
    agent_tool    `agent:` another agent, or all that have a capability, as a tool
    answers       what a model is told of an HTTP answer
    emit_tool     the tool with which a model emits tasks and events, as far as the manifest allows
    processes     programs and Python functions, each in a process of its own
    toolbox       the tools of one agent: only what its manifest declares can run, and only within
                  bounds
    port          the port to tools: what a model is told of one, what it is called with, and what
                  it answers
    secrets       what a tool sends and nobody may read again: not the model, not a log
    web           HTTP for tools: only to addresses that are allowed, within bounds
"""
