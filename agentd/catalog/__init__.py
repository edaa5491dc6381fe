"""A folder of files becomes agents, checked one by one and together.

A module imports only from what stands below it.

    catalog        every agent of a folder, and all that is wrong with it
    assembly       from a manifest, with all that it names, to an agent
    spec           one agent, ready to run
    python_source  does a file of tools compile?
    topology       the agents of a folder as a whole: who emits, who takes, who subscribes, and
                   what is wrong with it
"""
