"""PLACEHOLDER.

In reading order: a module imports only from what stands above it.

    python_source  does a file of tools compile?
    spec           one agent, ready to run
    assembly       from a manifest, with all that it names, to an agent
    catalog        every agent of a folder, and all that is wrong with it
"""
