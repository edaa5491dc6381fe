"""Reading YAML that may be hostile: into nodes with their places, or into problems.

A module imports only from the modules below it.

    reader       reads YAML text into nodes; limits on size, depth and syntax
    interpolate  fills in `${VAR}` from the environment, as Docker Compose does
    syntax       turns libyaml's syntax errors into problems in plain words
    nodes        scalars, lists and mappings that know their line and column; what text means
"""
