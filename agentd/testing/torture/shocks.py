"""When something goes wrong, and which replica it happens to: so that it meets work."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Sequence

from agentd.testing.torture.harness import World
from agentd.testing.torture.processes import ReplicaProcess

_LOOK = 0.005  # seconds between two looks at the replicas
_STALL = 10.0  # seconds without progress after which nothing is waited for any longer
_RUNNING = re.compile(r"^agentd_tasks_in_flight\{.*\} (\d+)", re.MULTILINE)


async def shocks(world: World, count: int, tasks: int) -> AsyncGenerator[int]:
    """Yields at `count` random moments while `tasks` tasks are run.

    The moments are numbers of model calls, not times: a slow machine, too, gets its shocks
    while it works.
    """
    start = world.calls.total
    for number in range(count):
        due = start + (number + world.random.random()) * tasks / (count + 1)
        last, since = world.calls.total, time.monotonic()
        while world.calls.total < due and time.monotonic() - since < _STALL:
            await asyncio.sleep(0.002)
            if world.calls.total != last:
                last, since = world.calls.total, time.monotonic()
        yield number


async def victim(
    world: World, replicas: Sequence[ReplicaProcess], fault: str, *, at_least: int = 1
) -> ReplicaProcess:
    """A random replica that runs tasks, which `fault` is to meet.

    If none runs `at_least` tasks within some seconds, a fault of any replica meets nothing.
    """
    started = time.monotonic()
    while time.monotonic() - started < _STALL:
        for replica in world.random.sample(replicas, len(replicas)):
            running = await _running(replica)
            if running >= at_least:
                world.findings.met[fault] += running
                return replica
        await asyncio.sleep(_LOOK)
    world.findings.met[fault] += 0
    return world.random.choice(replicas)


async def idle(replica: ReplicaProcess) -> None:
    """Returns when a replica has settled all its tasks, or does not end one for a long time."""
    running, since = await _running(replica), time.monotonic()
    while running and time.monotonic() - since < _STALL:
        await asyncio.sleep(_LOOK)
        before, running = running, await _running(replica)
        since = since if running == before else time.monotonic()


async def _running(replica: ReplicaProcess) -> int:
    """How many tasks a replica runs; 0 if it does not answer."""
    try:
        _, metrics = await replica.http("/metrics")
    except (OSError, RuntimeError):
        return 0
    return sum(map(int, _RUNNING.findall(metrics)))
