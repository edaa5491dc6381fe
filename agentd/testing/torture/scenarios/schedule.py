"""Scheduled tasks that become due while processes are killed."""

from __future__ import annotations

import asyncio
import time

from agentd.nats import schedules
from agentd.testing.torture.harness import IN_FLIGHT, World
from agentd.testing.torture.oracle import Allowed
from agentd.testing.torture.scenario import Size
from agentd.testing.torture.sender import TaskDraft

# Seconds before the first due time, and between two. A sender that lost its connection has repeated
# its publish by then.
_AHEAD, _APART = 4.0, 1.5
_NEAR = 0.3  # seconds before or after a due time at which a process is killed


async def schedule(world: World, size: Size) -> None:
    """kill -9 of agentd and nats-server as tasks become due: each runs once, none too early."""
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
    # A killed server forgets the latest deliveries: it may deliver every running task again.
    explained = size.shocks * IN_FLIGHT * (1 + len(replicas))
    seen = await world.judge(Allowed(extra_calls=explained, sent_twice=True))
    world.findings.figures["sent_twice"] = sum(count > 1 for count in seen.logged.values())
    early = [
        name
        for number, name in enumerate(names)
        if any(outcome.at < due(number) for outcome in seen.outcomes.get(name, ()))
    ]
    world.findings.require(not early, f"{len(early)} tasks ran before they were due")


async def _until_sent(world: World) -> None:
    """Returns when the server has no scheduled message left."""
    pattern = world.subjects.schedule("message", "*")
    deadline = time.monotonic() + 30
    while [entry async for entry in schedules.pending(world.bus, pattern)]:
        if time.monotonic() > deadline:
            world.findings.broken.append(
                "scheduled messages were not published although they are due"
            )
            return
        await asyncio.sleep(0.1)
