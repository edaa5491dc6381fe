"""Replicas and nats-servers that are killed, at random or at a named crash point."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from agentd import crash_points
from agentd.testing.torture.harness import IN_FLIGHT, World
from agentd.testing.torture.oracle import Allowed
from agentd.testing.torture.processes import ReplicaProcess
from agentd.testing.torture.scenario import Size
from agentd.testing.torture.sender import TaskDraft, malformed_body
from agentd.testing.torture.shocks import shocks, victim

_EVERY = 10  # one task in ten is forwarded to another agent, and one in ten is malformed


async def kill9(world: World, size: Size) -> None:
    """2 replicas, kill -9 at random: nothing lost, nothing doubled."""
    world.agent()
    replicas = await world.up(2)
    async with world.sending(size.tasks):
        async for _ in shocks(world, size.shocks, size.tasks):
            await (await victim(world, replicas, "a kill")).again()
    await world.judge(Allowed(extra_calls=size.shocks * IN_FLIGHT))


async def broker(world: World, size: Size) -> None:
    """kill -9 of nats-server and agentd in turn: nothing lost or doubled, work resumes in 1 s."""
    world.agent()
    replicas = await world.up(2)
    returned: list[float] = []
    async with world.sending(size.tasks):
        async for number in shocks(world, 2 * size.shocks, size.tasks):
            if number % 2:
                await (await victim(world, replicas, "a kill of agentd")).again()
            else:
                sending = len(world.sender.drafts) - len(world.sender.accepted)
                world.findings.met["a kill of nats-server"] += world.stub.in_flight + sending
                returned.append(await world.kill_server(pause=world.random.uniform(0, 0.5)))
    # A killed server forgets the latest deliveries: it may deliver every running task again.
    explained = size.shocks * IN_FLIGHT * (1 + len(replicas))
    seen = await world.judge(Allowed(extra_calls=explained))
    ends = sorted(outcome.at for outcomes in seen.outcomes.values() for outcome in outcomes)
    pauses = [next((at - back for at in ends if at > back), 0.0) for back in returned]
    world.limit("resumed_after", max(pauses), 1.0)


async def crashpoints(world: World, size: Size) -> None:
    """Replicas die at each named point: nothing lost or doubled, no stored answer paid again."""
    world.agent(limits={"concurrency": 1})
    world.agent("target", capabilities=["other"], limits={"concurrency": 1})
    explained, dead = 0, dict[str, str]()
    for point in crash_points.OF_A_TASK:
        before = world.calls.extra
        rarity = _EVERY if point in ("after-forward", "after-letter", "mid-batch") else 1
        names, deaths = await die_at(world, point, size, draft=_mixed, rarity=rarity)
        extra = world.calls.extra - before
        # A death repeats the call that the other agent of the replica was making. At `after-model`
        # the answer of this agent, which was paid for, is lost as well.
        allowed = deaths * (2 if point == "after-model" else 1)
        explained += allowed
        world.findings.figures[point] = deaths
        world.findings.require(extra <= allowed, f"{point}: {extra} extra calls in {deaths} deaths")
        world.findings.require(deaths >= size.shocks, f"{point}: died only {deaths} times")
        dead |= {name: "malformed" for name in names if world.sender.drafts[name].body}
    await world.judge(Allowed(extra_calls=explained, dead=dead))


async def die_at(
    world: World, point: str, size: Size, *, draft: Callable[[int], TaskDraft], rarity: float = 1.0
) -> tuple[list[str], int]:
    """Sends tasks to two replicas that die at `point`, and starts them again.

    One task in `rarity` reaches the point. Returns the ids of the tasks and the number of deaths.
    """
    chance = min(1.0, 2 * size.shocks * rarity / size.tasks)
    replicas = [world.replica(environ={"AGENTD_CRASH": f"{point}:{chance}"}) for _ in range(2)]
    deaths = 0

    async def keep(replica: ReplicaProcess) -> None:
        nonlocal deaths
        while True:
            await replica.start()
            await replica.ended()
            deaths += 1
            if deaths >= size.shocks:
                replica.environ = {}  # it lives on, so that the remaining tasks can end

    async with asyncio.TaskGroup() as group:
        keepers = [group.create_task(keep(replica)) for replica in replicas]
        names = await world.sender.send(size.tasks, draft)
        await world.at_rest()
        while deaths < size.shocks and len(names) < 2 * size.tasks:  # chance may give too few
            names += await world.sender.send(_EVERY, draft)
            await world.at_rest()
        for keeper in keepers:
            keeper.cancel()
    for replica in replicas:
        await replica.end(signal.SIGKILL)
    return names, deaths


def _mixed(number: int) -> TaskDraft:
    if number % _EVERY == 0:
        return TaskDraft(fields={"target": "target"})
    return TaskDraft(body=malformed_body) if number % _EVERY == 1 else TaskDraft()
