"""HTTP for tools: only to addresses that are allowed, within bounds.

A module imports only from what stands below it.

    fetch      HTTP for tools: to addresses that were checked, through safe redirects, within
               bounds
    encodings  compressed answers, unpacked only as far as they are read: a few bytes may hold
               gigabytes
    addresses  which addresses a tool may connect to: public ones, and those that its manifest
               allows
"""
