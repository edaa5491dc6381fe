"""The audit: a Merkle tree over the log, with signed checkpoints, that proves what is on record.

docs/audit.md has the formats. A module imports only from those below it.

    keeper      reads the log, adds its messages to the tree, signs and stores each step
    program     writes the verifier as one program
    verify      compares the log on the server with the tree
    export      writes messages with their proofs, for a verifier without agentd
    witness     cosigns checkpoints of another agentd, after it has checked them
    head        where the tree ends, and the step that makes it longer
    chain       follows the steps of the tree, and checks that each follows from the one before
    lease       which process keeps the tree
    step        one step of the tree, as it is stored
    batch       describes the messages of a step
    keys        private keys: in a file, or shared by the replicas
    log_reader  reads messages as they are stored, in batches
    verifier    verifies an export, with the standard library alone
"""
