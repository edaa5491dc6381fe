"""Reading manifests: from YAML files to checked models, or to problems with places.

A module imports only from the modules below it.

    file           reads one manifest file: front matter, defaults of the folder, variables, checks
    reference      generates the reference in `docs/manifest.md`, and the files with the schemas
    diagnose       validation errors of pydantic as problems: place, text, hint, "did you mean"
    file_schema    the JSON Schemas of manifests and of `_defaults.yaml`
    agent          the class `Manifest`: every top-level field, and the short forms of some
    limits         `limits`, `retry`, `history` and `output`
    tools          an entry under `tools`: its kind, command, approval, effects
    triggers       `triggers`: what starts a task from outside
    http           the tools `http` and `openapi`, and `allow_private`
    mcp            the tool `mcp`: a server with its resources and prompts
    flow           `subscribe`, `emit` and `join`
    schedule       `schedule`: the task that an agent gets regularly
    model          `model` and its parameters, price, rates and routes; the names of the mock models
    strict_model   the base class of all parts: unknown fields are errors, nothing can be changed
    quantities     types of values: durations, rates, money, names, topics, patterns, expressions
    clock_changes  what a schedule loses or does twice where the clocks of its zone change
    cron           cron expressions: parsing
    rate           the arithmetic of a rate: what is available in a sliding window, and when
    json_schema    whether a JSON Schema is valid, and whether a value fits it, in bounded steps
    cron_times     when a cron expression is due, found as the server finds it
    files          reads the folders of manifests, prompts and tools; which files count
    yaml           reading YAML that may be hostile: nodes with places, variables, syntax errors
"""
