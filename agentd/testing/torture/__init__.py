"""Torture for the promises of agentd: scenarios in which everything breaks, and an oracle.

    agentd torture [SCENARIO] [--tasks N] [--seed N] [--short] [--without SAFEGUARD]

Reading order: `scenario` (what one is), `oracle` (what must hold), `sender`, `evidence`,
`processes` and `zygote` (replicas), `unsafe` (replicas without a safeguard), `harness` (the world
of a scenario), `scenarios/`, `runner`.
"""
