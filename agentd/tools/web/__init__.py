"""HTTP for tools: only to allowed addresses, with limits.

A module imports only from those below it.

    fetch      sends a request: resolves and checks the host, follows safe redirects, reads the
               answer up to a limit
    encodings  unpacks gzip and deflate up to a limit
    addresses  which addresses a tool may connect to: public ones, and those that its manifest
               allows
"""
