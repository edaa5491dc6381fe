"""JSON Schema, where a schema or a value may come from a stranger.

A module imports only from those below it.

    summary    a schema in one line, for people
    check      whether a schema is valid, and whether a value fits it, in a bounded number of steps
    validator  the library's validator, with each keyword counted and patterns that end
    steps      counts the steps of a check, and ends it when there are too many
"""
