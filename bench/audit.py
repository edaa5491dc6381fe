"""What the audit of the log costs: the CPU time of its keeper and of nats-server for a message."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator

from agentd.nats import streams
from agentd.nats.bus import Bus
from agentd.record.audit import step
from agentd.record.audit.keeper import Keeper
from agentd.settings import Settings
from bench.child import cpu
from bench.figures import Figure, Section
from bench.rig import ENV, Rig, rig

_MESSAGES = 30_000
_PER_SECOND = 3_000  # a task has three messages: itself, a record of its model call, its result
_AT_ONCE = 500
_BODY = json.dumps({"text": "a line of an answer " * 40}).encode()
_HEADERS = {"Agentd-Revision": "8c1f04a2b7de", "traceparent": f"00-{'4' * 32}-{'8' * 16}-01"}


async def measure(*, repeats: int) -> list[Section]:
    """One section."""
    shares = [await _share() for _ in range(repeats)]
    return [
        Section(
            title="The audit of the log at 1,000 tasks per second",
            figures=[
                Figure(
                    name=f"{_PER_SECOND:,} messages of 1 kB per second, keeper and nats-server",
                    unit="of one core",
                    samples=tuple(shares),
                    at_most=0.10,
                )
            ],
            notes=[
                f"CPU time for {_MESSAGES:,} messages that were stored before, until the newest "
                f"checkpoint covers them, for a message, times {_PER_SECOND:,}."
            ],
        )
    ]


async def _share() -> float:
    async with rig("relaxed") as ground, _connected(ground) as bus:
        await streams.ensure(bus, Settings())
        last = await _fill(bus)
        before = time.process_time() + cpu(ground.server.pid)
        keeper = Keeper(bus, ENV, "bench")
        keeper.open()
        await _until_covered(bus, last)
        spent = time.process_time() + cpu(ground.server.pid) - before
        await keeper.close()
    return spent / _MESSAGES * _PER_SECOND


async def _until_covered(bus: Bus, last: int) -> None:
    async with asyncio.timeout(120):
        while True:
            newest = await step.newest(bus, ENV)
            if newest is not None and newest.last >= last:
                return
            await asyncio.sleep(0.5)


async def _fill(bus: Bus) -> int:
    """Stores the messages; returns the sequence of the last one."""
    sequence = 0
    for first in range(0, _MESSAGES, _AT_ONCE):
        answers = await asyncio.gather(
            *(
                bus.request(f"agents.{ENV}.result.a.b.{number}", _BODY, headers=_HEADERS)
                for number in range(first, first + _AT_ONCE)
            )
        )
        sequence = max(sequence, *(json.loads(each.data)["seq"] for each in answers))
    return sequence


@contextlib.asynccontextmanager
async def _connected(ground: Rig) -> AsyncGenerator[Bus]:
    server = ground.server
    bus = await Bus.connect({"servers": server.url, "token": server.token}, timeout=5)
    try:
        yield bus
    finally:
        await bus.close()
