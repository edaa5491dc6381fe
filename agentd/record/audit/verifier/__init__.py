"""Verifies an export of the audit with Python's standard library alone.

Nothing here imports a library or another part of agentd, so that who does not trust agentd can
read it, copy it and run it: `agentd audit verifier FILE` writes it as one file. A module imports
only from those below it.

    export   reads an export line by line, and verifies it
    judge    what is verified: batches of messages, which of them may be gone, what is wrong
    note     checkpoints and keys: signed notes of C2SP
    ed25519  verifies Ed25519 signatures without a library
    tree     the Merkle tree of RFC 9162, and the leaves of agentd
"""
