"""Tasks that fall due while processes die."""

from __future__ import annotations

import asyncio
import time

from agentd.nats import schedules
from agentd.testing.torture.harness import IN_FLIGHT, World
from agentd.testing.torture.oracle import Allowed
from agentd.testing.torture.scenario import Size
from agentd.testing.torture.sender import TaskDraft

# Seconds to the first due time and between two: a sender that was cut off has tried again by then.
_AHEAD, _APART = 4.0, 1.5
_NEAR = 0.3  # seconds around a due time within which somebody is killed


async def schedule(world: World, size: Size) -> None:
    """kill -9 of agentd, of nats-server, of both as tasks fall due: each done once, none early."""
    world.agent()
    replicas = await world.up(2)
    start = time.time() + _AHEAD
    moments = [start + number * _APART for number in range(size.shocks)]

    def due(number: int) -> float:
        return moments[number % len(moments)]

    names = await world.sender.send(size.tasks, lambda number: TaskDraft(due=due(number)))
    for number, moment in enumerate(moments):
        await asyncio.sleep(moment + world.random.uniform(-_NEAR, _NEAR) - time.time())
        if number % 3 != 0:
            await world.kill_server(pause=world.random.uniform(0, 0.5))
        if number % 3 != 1:
            await world.random.choice(replicas).again()
    await _until_sent(world)
    # A server that dies forgets the latest deliveries: what runs anywhere may be given out again.
    explained = size.shocks * IN_FLIGHT * (1 + len(replicas))
    seen = await world.judge(Allowed(extra_calls=explained, sent_twice=True))
    world.findings.figures["sent_twice"] = sum(count > 1 for count in seen.logged.values())
    early = [
        name
        for number, name in enumerate(names)
        if any(outcome.at < due(number) for outcome in seen.outcomes.get(name, ()))
    ]
    world.findings.require(not early, f"{len(early)} tasks were done before they were due")


async def _until_sent(world: World) -> None:
    """Returns when the server has nothing left to send later."""
    pattern = world.subjects.schedule("message", "*")
    deadline = time.monotonic() + 30
    while [entry async for entry in schedules.pending(world.bus, pattern)]:
        if time.monotonic() > deadline:
            world.findings.broken.append("schedules that are due were not carried out")
            return
        await asyncio.sleep(0.1)
