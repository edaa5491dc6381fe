"""Programs and Python functions, each in a process of its own.

A module imports only from what stands below it.

    pool             the processes in which functions of `tools/` run, seen from the daemon, which
                     runs none
    worker           the process in which functions of `tools/` run: `python -m
                     agentd.tools.processes.worker`
    child            A program that we run: spoken to in lines, and gone with all that it started
                     when we are
    description      A function of `tools/` looked at: how a model is to call it, or what is wrong
                     with it
    processes        processes that are started for tools: each leads a group of its own, and none
                     outlives us
    function_schema  A Python function as a tool: its schema from its signature and its docstring
    plain            what a function answers, as JSON data; or why that cannot be
    modules          the files of `tools/` as modules: imported from what the catalog read, not
                     from the disk
    frames           what a process of functions and its parent tell each other: JSON with its
                     length before it
    reaper           ends process groups whose parent is gone, however it went: `python -I -S
                     reaper.py`
"""
