"""PLACEHOLDER.

In reading order: a module imports only from what stands above it.

    child            A program that we run: spoken to in lines, and gone with all that it started when we are.
    worker           The process in which functions of `tools/` run: `python -m agentd.tools.processes.worker`.
    pool             The processes in which functions of `tools/` run, seen from the daemon, which runs none.
    processes        Processes that are started for tools: each leads a group of its own, and none outlives us.
    reaper           Ends process groups whose parent is gone, however it went: `python -I -S reaper.py`.
    frames           What a process of functions and its parent tell each other: JSON with its length before it.
    modules          The files of `tools/` as modules: imported from what the catalog read, not from the disk.
    plain            What a function answers, as JSON data; or why that cannot be.
    description      A function of `tools/` looked at: how a model is to call it, or what is wrong with it.
    function_schema  A Python function as a tool: its schema from its signature and its docstring.
"""
