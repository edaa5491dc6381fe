"""SIGTERM to replicas that are running tasks."""

from __future__ import annotations

import signal
import time

from agentd.testing.stub_model import Behaviour
from agentd.testing.torture.harness import World
from agentd.testing.torture.scenario import Size
from agentd.testing.torture.shocks import shocks, victim

_LONGEST_CALL = 0.3


async def drain(world: World, size: Size) -> None:
    """SIGTERM under load: nothing lost, redelivered, paid twice; ended 1 s after the last call."""
    world.stub.behaviour = Behaviour(latency=_LONGEST_CALL)
    world.agent(limits={"concurrency": 32})
    replicas = await world.up(2)
    longest = 0.0
    async with world.sending(size.tasks):
        async for _ in shocks(world, size.shocks, size.tasks):
            leaving = await victim(world, replicas, "SIGTERM")
            started = time.monotonic()
            status = await leaving.end(signal.SIGTERM)
            longest = max(longest, time.monotonic() - started)
            world.findings.require(status == 0, f"{leaving.name} ended with {status}")
            await leaving.start()
    seen = await world.judge()
    # A drained replica settles every delivery itself: none may be delivered again after ack_wait.
    world.limit("longest_drain", longest, _LONGEST_CALL + 1.0)
    world.findings.at_most("redelivered", seen.deliveries - len(seen.accepted), 0)
