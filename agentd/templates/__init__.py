"""PLACEHOLDER.

In reading order: a module imports only from what stands above it.

    bounds      what one rendering of a template may spend
    filters     the filters and tests that prompts have
    compiler    the Python that a template becomes, with a price on every step
    sandbox     Jinja within bounds
    source      one template text and every mistake in it
    prompts     a prompt with its includes, compiled once, rendered for each task
    expression  one expression of a manifest
    text        a text with expressions in it
"""
