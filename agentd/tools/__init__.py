"""Tools: what a model may call.

A module imports only from those below it.

    open          makes the toolbox of an agent from `tools:` in its manifest, by kinds
    arguments     whether the arguments of `call` in a manifest can fit its tool
    mcp_tool      `mcp:` the tools, resources and prompts of MCP servers
    openapi_tool  `openapi:` the operations of an OpenAPI document as tools; fetches documents
    command_tool  `command: [git, log, "-n", "{{ count }}"]`: a program whose arguments a model
                  fills in
    http_tool     `http:` a request whose values a model fills in; `RequestTool` sends any request
    mcp           the connections to MCP servers
    python_tool   `python: weather.py:forecast`: functions in the files of `tools/`
    agent_tool    `agent:` another agent, or all agents with a capability, as a tool
    ask_tool      `ask: person`: a question to a person, as a tool
    answers       an HTTP answer as the model receives it: JSON, text, or an error
    emit_tool     the tool `emit`, with which a model emits tasks and events
    processes     runs programs and Python functions in processes beside the daemon
    toolbox       the tools of one agent: checks the arguments, limits the time, turns errors into
                  answers
    port          what a tool is, what a call of it has, and what a source of tools gives
    secrets       hides the secrets of a tool in its answers and errors
    tool_schema   the JSON Schemas of tools, in the form that providers take
    web           HTTP with checked addresses, safe redirects and limits
"""
