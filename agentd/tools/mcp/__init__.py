"""MCP servers: started or reached, asked, restarted.

A module imports only from what stands below it.

    server  keeps one MCP server alive: connects, asks for its tools, starts it again when it is
            gone
    client  one connection to an MCP server, in plain data
    text    what an MCP server answers, as text: a chat has no room for the bytes of a picture
    wire    what carries the messages of MCP, bounded: the lines of a program, the bodies of
            responses
"""
