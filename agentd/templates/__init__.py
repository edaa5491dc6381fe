"""Templates: prompts, expressions and HTTP requests, filled in for each call, within limits.

A module imports only from what stands below it.

    requests    HTTP requests from the arguments of a tool call: `http:` entries and OpenAPI
    text        texts with `{{ expressions }}` but without loops, for URLs, headers and bodies
    schema_fit  whether an expression can hold for values that fit a JSON Schema
    expression  expressions of a manifest, such as `when: output.score > 0.5`
    prompts     prompts and the library of a prompts folder: digests, rendering, error places
    links       checks a template against its includes: missing ones, cycles, unknown names
    source      compiles one template text, and collects its problems, includes and names
    syntax      turns Jinja's syntax errors into problems in plain words
    place       a problem of a template text, and its place in the file that contains the text
    sandbox     the Jinja environment: which attributes, methods, operators and calls are allowed
    filters     the filters and tests of templates, and how values become text
    compiler    the Jinja code generator that makes each step of a template pay
    bounds      the limits of one rendering: CPU time, work, size of values
"""
