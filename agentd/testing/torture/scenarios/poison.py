"""Tasks that always fail, are malformed, or kill their process: other tasks must not suffer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentd.testing.stub_model import Behaviour
from agentd.testing.torture.harness import IN_FLIGHT, World
from agentd.testing.torture.oracle import Allowed, Evidence
from agentd.testing.torture.processes import ReplicaProcess
from agentd.testing.torture.scenario import Size
from agentd.testing.torture.sender import TaskDraft, malformed_body
from agentd.testing.torture.unsafe import KILLS

_ATTEMPTS = 3
_RATE = 150.0  # tasks a second: two replicas can run more, so that no queue builds up
_EVERY = 100  # one task in so many fails
_FAILS = "always fails"


@dataclass(frozen=True)
class _Poison:
    """A task that fails, the reason in its dead letter, and the attempts that it gets."""

    draft: TaskDraft
    reason: str
    attempts: int


_MALFORMED = _Poison(TaskDraft(body=malformed_body), "malformed", 1)
_FAILING = _Poison(TaskDraft(content=_FAILS), "exhausted", _ATTEMPTS)
_KILLING = _Poison(TaskDraft(content=KILLS), "poisonous", _ATTEMPTS)


async def poison(world: World, size: Size) -> None:
    """1 % of tasks fail: dead-lettered after the allowed attempts, and no other task with them."""
    world.agent(retry={"attempts": _ATTEMPTS, "backoff": "0.2s", "max_backoff": "0.2s"})
    world.behave = _fail_if_requested
    replicas = await world.up(2)
    over = size.tasks / _RATE
    alone = await world.sender.send(size.tasks, over=over)
    mixed = await world.sender.send(size.tasks, _draft, over=over)
    dead = {name: failing for n, name in enumerate(mixed) if (failing := _failing(n))}
    dead |= await _kill_from_inside(world, replicas, size.shocks)
    reasons = {name: failing.reason for name, failing in dead.items()}
    retries = len(dead) * _ATTEMPTS + 2 * size.shocks * _ATTEMPTS * IN_FLIGHT
    seen = await world.judge(Allowed(dead=reasons, extra_calls=retries))
    for name, failing in dead.items():
        tried = [letter.attempts for letter in seen.dead_letters.get(name, ())]
        world.findings.require(
            tried == [failing.attempts], f"{name} ({failing.reason}) was tried {tried} times"
        )
    others = [name for name in mixed if name not in dead]
    slower = _p99(world, seen, others) / _p99(world, seen, alone)
    # A ratio of two latencies depends on what else the machine does: only the full form judges it.
    limit = 1.2 if world.setup.lenience == 1.0 else math.inf
    world.limit("p99_of_others", slower, limit, "times the p99 without failing tasks")


def _failing(number: int) -> _Poison | None:
    if number % _EVERY != _EVERY - 1:
        return None
    return _FAILING if number // _EVERY % 2 else _MALFORMED


def _draft(number: int) -> TaskDraft:
    failing = _failing(number)
    return failing.draft if failing else TaskDraft()


async def _kill_from_inside(
    world: World, replicas: Sequence[ReplicaProcess], count: int
) -> dict[str, _Poison]:
    """Sends tasks that kill their process, among others that must still succeed."""

    async def keep(replica: ReplicaProcess) -> None:
        while True:
            await replica.ended()
            await replica.start()

    world.stub.behaviour = Behaviour(
        latency=0.5
    )  # so that other tasks run when a process is killed
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
    """The 99th percentile of the seconds from acceptance to outcome."""
    accepted = world.sender.accepted
    times = sorted(seen.outcomes[n][0].at - accepted[n] for n in names if n in seen.outcomes)
    return max(0.001, times[int(len(times) * 0.99)])


def _fail_if_requested(_task: str, body: Mapping[str, Any]) -> Behaviour | None:
    return Behaviour(fault="500") if _FAILS in str(body["messages"][-1]["content"]) else None
