"""Measures agentd against a bare NATS handler: `python -m bench`.

Reading order: `child` (a process and what it costs), `rig` (NATS, the stub model, agentd), `load`
(keeps tasks in flight), `baseline` (the bare handlers), one module for each measurement
(`throughput`, `first_chunk`, `reload`, `startup`, `memory`), `figures` and `report`.
"""
