"""Two processes on one queue: how evenly they share the tasks, and their throughput."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

from nats.aio.client import Client

from agentd.nats.bus import Bus
from agentd.routing import registry
from bench.batch import at_once, lane
from bench.figures import Figure, Section
from bench.rig import ENV, Rig, manifest, rig, write_project

_TASKS = 1_000
_HEAVY = 60  # tasks of one process that keep a CPU busy
_COUNTED = 2.0  # seconds until the registry has the numbers of finished tasks

_BURN = '''"""Keeps one CPU busy."""


def burn() -> int:
    """Counts for about 50 ms."""
    total = 0
    for number in range(1_000_000):
        total += number
    return total
'''
_CALL = [{"tool_calls": [{"name": "burn", "arguments": {}}]}, {"text": "done"}]


async def measure(*, repeats: int) -> list[Section]:
    """One section."""
    shares: list[float] = []
    speedups: list[float] = []
    async with rig("always") as ground:
        project = _project(ground)
        for _ in range(repeats):
            alone, _ = await _run(ground, project, processes=1)
            together, share = await _run(ground, project, processes=2)
            shares.append(share)
            speedups.append(together / alone)
    return [
        Section(
            title="Two processes on one queue, durability always",
            figures=[
                Figure(
                    name=f"share of the busier one in {_TASKS:,} tasks, against half",
                    unit="times half",
                    samples=tuple(shares),
                    at_most=1.05,
                ),
                Figure(
                    name="throughput of two, bound by CPU, against one",
                    unit="times as much",
                    samples=tuple(speedups),
                    at_least=2.0,
                ),
            ],
            notes=[
                "The shares are of tasks whose model takes 50 ms, 8 at a time in a process. The "
                "tasks that are bound by CPU call a Python function that counts for about 50 ms, "
                "one at a time in a process. nats-server, the stub and the load generator need CPU "
                "as well, so that on two CPUs the throughput cannot quite double."
            ],
        )
    ]


def _project(ground: Rig) -> Path:
    stub = json.dumps({"stub": {"latency": 0.05, "tokens": 20}})
    model, script = ground.stub_model(), json.dumps(_CALL)
    shared = manifest("shared", model, parameters=stub, stream="false", limits="{concurrency: 8}")
    mock = f"{{name: mock/script, script: {script}}}"
    tools = "[{python: burn.py:burn}]"
    heavy = manifest("heavy", mock, tools=tools, stream="false", limits="{concurrency: 1}")
    project = write_project(ground.folder / "project", {"shared": shared, "heavy": heavy})
    (project / "tools").mkdir()
    (project / "tools" / "burn.py").write_text(_BURN)
    return project


async def _run(ground: Rig, project: Path, *, processes: int) -> tuple[float, float]:
    """The heavy tasks per second; and the share of the busier process, times the processes."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(processes):
            await stack.enter_async_context(ground.agents(project))
        client = await stack.enter_async_context(ground.connect())
        await _at_once(client, "heavy", 4 * processes)
        seconds = await _at_once(client, "heavy", _HEAVY * processes)
        await _at_once(client, "shared", _TASKS)
        await asyncio.sleep(_COUNTED)
        counts = await _counts(ground)
    if sum(counts) != _TASKS:
        raise RuntimeError(f"the registry counts {counts} of {_TASKS} tasks")
    return _HEAVY * processes / seconds, max(counts) * processes / _TASKS


async def _at_once(client: Client, capability: str, count: int) -> float:
    """The seconds until the last of `count` tasks has its result."""
    where = lane(capability)
    return max(await at_once(client, [where.tasks] * count, where.results))


async def _counts(ground: Rig) -> list[int]:
    """How many of the shared tasks each process has run."""
    server = ground.server
    bus = await Bus.connect({"servers": server.url, "token": server.token}, timeout=5)
    try:
        online = await registry.online(bus, ENV)
        return [replica.done for replica in online if replica.agent == "shared"]
    finally:
        await bus.close()
