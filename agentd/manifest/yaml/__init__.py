"""PLACEHOLDER.

In reading order: a module imports only from what stands above it.

    nodes        YAML values that know their place
    syntax       libyaml's complaints in plain words
    reader       hostile YAML in, nodes or problems out
    interpolate  `${VAR}` as Compose has it
"""
