"""YAML from strangers: nodes that know their place, or problems.

A module imports only from what stands below it.

    reader       hostile YAML in, nodes or problems out
    interpolate  `${VAR}` as Compose has it
    syntax       libyaml's complaints in plain words
    nodes        YAML values that know their place
"""
