"""Tasks that cannot be done, and that must not hurt those that can."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentd.testing.stub_model import Behaviour
from agentd.testing.torture.harness import IN_FLIGHT, World
from agentd.testing.torture.oracle import Allowed, Evidence
from agentd.testing.torture.processes import ReplicaProcess
from agentd.testing.torture.scenario import Size
from agentd.testing.torture.sender import TaskDraft, no_message
from agentd.testing.torture.unsafe import KILLS

_ATTEMPTS = 3
_RATE = 150.0  # tasks a second: less than two replicas can do, so that no queue is measured
_EVERY = 100
_FAILS = "always fails"


@dataclass(frozen=True)
class _Poison:
    """How a task is sick, the reason that its letter gives, and the attempts it is worth."""

    draft: TaskDraft
    reason: str
    attempts: int


_MALFORMED = _Poison(TaskDraft(body=no_message), "malformed", 1)
_FAILING = _Poison(TaskDraft(content=_FAILS), "exhausted", _ATTEMPTS)
_KILLING = _Poison(TaskDraft(content=KILLS), "poisonous", _ATTEMPTS)


async def poison(world: World, size: Size) -> None:
    """1 % cannot be done: buried after the allowed attempts, and nobody else with them."""
    world.agent(retry={"attempts": _ATTEMPTS, "backoff": "0.2s", "max_backoff": "0.2s"})
    world.behave = _fail_if_told
    replicas = await world.up(2)
    over = size.tasks / _RATE
    alone = await world.sender.send(size.tasks, over=over)
    mixed = await world.sender.send(size.tasks, _draft, over=over)
    dead = {name: sick for n, name in enumerate(mixed) if (sick := _sick(n))}
    dead |= await _kill_from_inside(world, replicas, size.shocks)
    reasons = {name: sick.reason for name, sick in dead.items()}
    retries = len(dead) * _ATTEMPTS + 2 * size.shocks * _ATTEMPTS * IN_FLIGHT
    seen = await world.judge(Allowed(dead=reasons, extra_calls=retries))
    for name, sick in dead.items():
        tried = [letter.attempts for letter in seen.letters.get(name, ())]
        world.findings.require(
            tried == [sick.attempts], f"{name} ({sick.reason}) was tried {tried} times"
        )
    well = [name for name in mixed if name not in dead]
    slower = _p99(world, seen, well) / _p99(world, seen, alone)
    world.limit("p99_of_others", slower, 1.2, "times that without poison")


def _sick(number: int) -> _Poison | None:
    if number % _EVERY != _EVERY - 1:
        return None
    return _FAILING if number // _EVERY % 2 else _MALFORMED


def _draft(number: int) -> TaskDraft:
    sick = _sick(number)
    return sick.draft if sick else TaskDraft()


async def _kill_from_inside(
    world: World, replicas: Sequence[ReplicaProcess], count: int
) -> dict[str, _Poison]:
    """Sends tasks that kill their process, among others that they must not take with them."""

    async def keep(replica: ReplicaProcess) -> None:
        while True:
            await replica.ended()
            await replica.start()

    world.stub.behaviour = Behaviour(latency=0.5)  # whoever runs beside a killer dies with it
    every = 2 * IN_FLIGHT
    async with asyncio.TaskGroup() as group:
        keepers = [group.create_task(keep(replica)) for replica in replicas]
        names = await world.sender.send(
            count * every, lambda n: TaskDraft() if n % every else _KILLING.draft
        )
        await world.at_rest()
        for keeper in keepers:
            keeper.cancel()
    return dict.fromkeys(names[::every], _KILLING)


def _p99(world: World, seen: Evidence, names: Sequence[str]) -> float:
    """Seconds from acceptance to outcome."""
    accepted = world.sender.accepted
    times = sorted(seen.outcomes[n][0].at - accepted[n] for n in names if n in seen.outcomes)
    return max(0.001, times[int(len(times) * 0.99)])


def _fail_if_told(_task: str, body: Mapping[str, Any]) -> Behaviour | None:
    return Behaviour(fault="500") if _FAILS in str(body["messages"][-1]["content"]) else None
