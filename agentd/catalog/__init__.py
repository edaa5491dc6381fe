"""From a folder of files to agents that are ready to run, checked one by one and together.

A module imports only from the modules below it.

    catalog        `load`: every agent of a folder and all problems; what an edit did not change is
                   reused
    assembly       makes an agent of a manifest and the files that it names: prompt, scripts,
                   schemas, tools; computes its revision
    schemas        whether the JSON Schemas of a manifest are valid, and the rest fits them
    spec           `AgentSpec`, one agent ready to run; which files, expressions and templates a
                   manifest names
    sources        the files that an agent is made of, as they go on record
    python_source  whether a file in `tools/` compiles
    topology       all agents of a folder together: who emits, takes and subscribes, and warnings
"""
