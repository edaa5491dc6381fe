"""PLACEHOLDER.

In reading order: a module imports only from what stands above it.

    fetch      HTTP for tools: to addresses that were checked, through safe redirects, within bounds.
    addresses  Which addresses a tool may connect to: public ones, and those that its manifest allows.
    encodings  Compressed answers, unpacked only as far as they are read: a few bytes may hold gigabytes.
"""
