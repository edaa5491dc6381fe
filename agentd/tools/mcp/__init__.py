"""MCP servers: connected, called, and restarted when they fail.

A module imports only from those below it.

    server  keeps the connection to one MCP server: starts it, watches it, restarts it
    client  one connection to an MCP server, through the library `mcp`: its tools, resources,
            prompts
    offers  the tools of a server as agents can use them: names and schemas that models take
    text    the content of an answer (texts, images, resources) as text
    wire    the transports, stdio and HTTP, with limits on the size of a message
"""
