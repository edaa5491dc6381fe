"""What is filled in for each call: prompts, expressions, requests; all within bounds.

A module imports only from what stands below it.

    requests    HTTP requests filled in from the arguments of a call, written by hand or read from
                OpenAPI
    text        a text with expressions in it
    expression  one expression of a manifest
    prompts     a prompt with its includes, compiled once, rendered for each task
    source      one template text and every mistake in it
    sandbox     jinja within bounds
    filters     the filters and tests that prompts have
    compiler    the Python that a template becomes, with a price on every step
    bounds      what one rendering of a template may spend
"""
