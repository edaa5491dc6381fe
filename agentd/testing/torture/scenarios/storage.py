"""Streams, consumers and buckets that are deleted while agents run."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from agentd.errors import BusError
from agentd.nats import jetstream
from agentd.nats.bus import Msg
from agentd.nats.streams import AGENTS, CHUNKS, LOG, ROUTES, SCHEDULES, WORK
from agentd.protocol.subjects import Subject
from agentd.routing import registry
from agentd.testing.stub_model import Behaviour
from agentd.testing.torture.evidence import consumers, work_waiting
from agentd.testing.torture.harness import ENV, IN_FLIGHT, World
from agentd.testing.torture.oracle import Allowed, SeenOutcome
from agentd.testing.torture.scenario import Size

_CONSUMERS = "consumers"
_VICTIMS = (_CONSUMERS, WORK, CHUNKS, AGENTS, ROUTES, SCHEDULES, LOG)
_HEALED_WITHIN = 2.0  # seconds
_GIVE_UP = 30.0  # seconds


async def amnesia(world: World, size: Size) -> None:
    """Streams, consumers, buckets are deleted: created again in 2 s, no other task is lost."""
    # So that tasks still run when something is deleted, after a wait for the work queue. The new
    # task, whose answer is timed, waits for them: they may take longer only where its limit does.
    setup = world.setup
    world.stub.behaviour = Behaviour(latency=0.1 * setup.slowness * setup.lenience)
    world.agent()
    replicas = await world.up(2)
    answered: dict[str, float] = {}

    async def record(msg: Msg) -> None:
        # A result is published again if the log was just deleted: its last time counts.
        answered[str(Subject.parse(msg.subject).task_id)] = time.time()

    await world.bus.subscribe(world.subjects.pattern("result.>"), record)
    await world.bus.fence()
    for _ in range(size.shocks):
        for victim in _VICTIMS:
            await world.sender.send(size.tasks // size.shocks // len(_VICTIMS))
            # A task that has not reached the work queue would be lost with the log.
            await world.until_sourced()
            world.findings.met[f"the deletion of {victim}"] += await work_waiting(world.bus)
            healed = await _delete(world, victim, answered)
            world.limit(f"{victim}_healed_in", healed, _HEALED_WITHIN)
    # A task that ran when the consumers or the work queue were deleted may be delivered again.
    repeated = 2 * size.shocks * len(replicas) * IN_FLIGHT
    await world.judge(
        Allowed(extra_calls=repeated, log_lost=True),
        lambda seen: replace(
            seen,
            outcomes={
                **{task: [SeenOutcome(at=at, success=True)] for task, at in answered.items()},
                **seen.outcomes,
            },
        ),
    )


async def _delete(world: World, victim: str, answered: dict[str, float]) -> float:
    """Deletes something. Returns the seconds until it exists again and a new task is answered."""
    if victim == _CONSUMERS:
        for consumer in await consumers(world.bus, WORK):
            await jetstream.api(world.bus, f"CONSUMER.DELETE.{WORK}.{consumer['name']}")
    else:
        await jetstream.api(world.bus, f"STREAM.DELETE.{victim}")
    deleted = time.monotonic()
    probe = await world.sender.send_one()
    while time.monotonic() - deleted < _GIVE_UP:
        if probe in answered and await _is_whole(world, victim):
            break
        await asyncio.sleep(0.02)
    return time.monotonic() - deleted


async def _is_whole(world: World, victim: str) -> bool:
    """Whether it exists; the registry must also know which agents are online."""
    try:
        if victim == AGENTS:
            return bool(await registry.online(world.bus, ENV))
        return victim == _CONSUMERS or bool(await jetstream.api(world.bus, f"STREAM.INFO.{victim}"))
    except BusError:
        return False
