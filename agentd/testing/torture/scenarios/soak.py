"""Many tasks without faults: memory and descriptors must not grow."""

from __future__ import annotations

from agentd.testing.stub_model import Behaviour
from agentd.testing.torture.harness import World
from agentd.testing.torture.processes import ReplicaProcess
from agentd.testing.torture.scenario import Size

_MB = 1024 * 1024
_WARM_UP = 0.2  # of all tasks


async def soak(world: World, size: Size) -> None:
    """Many tasks: after the warm-up, memory grows by 5 MB at most, descriptors do not grow."""
    world.stub.behaviour = Behaviour()
    world.agent()
    [replica] = await world.up(1)
    await world.sender.send(round(size.tasks * _WARM_UP))
    await world.at_rest()
    # The first tasks fill caches and pools, which may grow.
    before = await _size(replica)
    await world.sender.send(size.tasks - round(size.tasks * _WARM_UP))
    await world.judge()
    after = await _size(replica)
    for what, most in (("memory", 5.0), ("asyncio_tasks", 2), ("descriptors", 2)):
        world.findings.at_most(f"more_{what}", after[what] - before[what], most)


async def _size(replica: ReplicaProcess) -> dict[str, float]:
    return {
        "memory": replica.resident / _MB,
        "asyncio_tasks": await replica.tasks(),
        "descriptors": replica.descriptors,
    }
