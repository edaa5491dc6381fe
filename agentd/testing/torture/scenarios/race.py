"""Two replicas that could run the same task: slow models, blocked event loops, pauses."""

from __future__ import annotations

import asyncio
import signal
import zlib
from collections.abc import Mapping
from typing import Any

from agentd.testing.stub_model import Behaviour
from agentd.testing.torture.harness import IN_FLIGHT, World
from agentd.testing.torture.oracle import Allowed
from agentd.testing.torture.scenario import Size
from agentd.testing.torture.sender import TaskDraft
from agentd.testing.torture.shocks import idle, shocks, victim
from agentd.testing.torture.unsafe import BLOCKS


async def race(world: World, size: Size) -> None:
    """Calls of three times ack_wait, some in a blocked event loop: exactly one call a task."""
    ack_wait = world.ack_wait
    world.stub.behaviour = Behaviour(latency=3 * ack_wait)
    world.agent(limits={"concurrency": size.tasks, "timeout": f"{10 * ack_wait:.0f}s"})
    await world.up(2)
    # While the event loop is blocked, only the thread of the heartbeats can keep the deliveries.
    stalls = TaskDraft(content=f"{BLOCKS} {1.5 * ack_wait}")
    await world.sender.send(
        size.tasks, lambda n: stalls if n in (0, size.tasks // 2) else TaskDraft()
    )
    seen = await world.judge()  # allows no extra call
    world.findings.figures["calls_per_task"] = world.calls.total / len(seen.accepted)


async def zombie(world: World, size: Size) -> None:
    """A replica is frozen for longer than ack_wait, then continues: one outcome for each task."""
    world.behave = _uneven
    world.agent()
    replicas = await world.up(2)
    async with world.sending(size.tasks):
        async for _ in shocks(world, size.shocks, size.tasks):
            paused = await victim(world, replicas, "a pause", at_least=IN_FLIGHT // 2)
            paused.send(signal.SIGSTOP)
            await asyncio.sleep(2 * world.ack_wait)
            paused.send(signal.SIGCONT)
            # The other replica may have run everything meanwhile: only what the frozen one still
            # does with its tasks shows anything.
            await idle(paused)
    # A frozen replica sends no heartbeats: its tasks are delivered to the other one. When it
    # continues, it may still call the model for the tasks that it had already looked up.
    paused_in_flight = size.shocks * IN_FLIGHT
    await world.judge(Allowed(extra_calls=paused_in_flight, late_calls=paused_in_flight))


def _uneven(task: str, _body: Mapping[str, Any]) -> Behaviour:
    """Calls of 0.1 to 0.5 s. Equal ones end together: a replica might be frozen between them."""
    return Behaviour(latency=0.1 + 0.4 * (zlib.crc32(task.encode()) % 100) / 100)
