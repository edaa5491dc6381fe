"""PLACEHOLDER.

In reading order: a module imports only from what stands above it.

    server  Keeps one MCP server alive: connects, asks for its tools, starts it again when it is gone.
    client  One connection to an MCP server, in plain data.
    wire    What carries the messages of MCP, bounded: the lines of a program, the bodies of responses.
    text    What an MCP server answers, as text: a chat has no room for the bytes of a picture.
"""
