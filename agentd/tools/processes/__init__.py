"""Processes for tools: programs and Python functions. They end with the daemon.

A module imports only from those below it.

    pool             the worker processes of Python tools, as the daemon sees them: which call goes
                     to which, and when one is started or ended
    worker           the program of a worker process: runs functions of `tools/`
                     (`python -m agentd.tools.processes.worker`)
    child            a program to which lines are written and from which lines are read, such as an
                     MCP server
    description      what an agent needs to know of a function: its schema, or what is wrong with it
    processes        starts programs through the spawner, and ends them all
    function_schema  a Python function as a tool: its JSON Schema from signature and docstring
    plain            what a function returns, as JSON data
    modules          imports the files of `tools/` from the bytes that the catalog read
    frames           the messages between a worker process and the daemon: JSON with its length in
                     front
    process          one running process: its pipes, its signals, its end
    environment      the environment of tools: an allow-list
    spawner          the program that starts the processes and kills them when the daemon ends
                     (`python -I -S spawner.py`)
"""
