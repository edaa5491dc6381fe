"""Priorities, and the cost of a long queue."""

from __future__ import annotations

from agentd.testing.stub_model import Behaviour
from agentd.testing.torture.harness import World
from agentd.testing.torture.scenario import Size
from agentd.testing.torture.sender import TaskDraft

_MB = 1024 * 1024


async def backlog(world: World, size: Size) -> None:
    """Tasks wait before the start: first result 1 s after ready, at most 30 MB more memory."""
    world.stub.behaviour = Behaviour()
    world.agent()
    await world.sender.send(size.tasks)
    [replica] = await world.up(1)
    before = replica.resident
    seen = await world.judge()
    first = min(outcome.at for outcomes in seen.outcomes.values() for outcome in outcomes)
    world.limit("first_result_after", max(0.0, first - replica.ready_at), 1.0)
    world.findings.at_most("more_memory", (replica.peak - before) / _MB, 30, " MB")


async def priority(world: World, size: Size) -> None:
    """Random priorities: 99 % of pairs run in order; priority 0 runs even under load."""
    world.agent(limits={"concurrency": 4})
    # All tasks wait before the agent starts: the order of arrival has no effect.
    drawn = [world.random.randrange(10) for _ in range(size.tasks)]
    names = await world.sender.send(size.tasks, lambda n: TaskDraft(priority=drawn[n]))
    priorities = dict(zip(names, drawn, strict=True))
    await world.up(1)
    await world.at_rest()
    order = [priorities[task] for task in sorted(names, key=lambda n: world.calls.times[n][0])]
    world.findings.figures["pairs_in_order"] = round(share := pairs_in_order(order), 4)
    world.findings.require(share >= 0.99, f"only {share:.1%} of pairs were in order")
    await _starve(world, size)


async def _starve(world: World, size: Size) -> None:
    """Keeps the replica busy with priority 9: a task of priority 0 must not run last."""
    before = world.calls.total
    async with world.sending(size.tasks, lambda _: TaskDraft(priority=9)):
        await world.until(lambda: world.calls.total > before, 10, "the load has begun")
        low = await world.sender.send_one(TaskDraft(priority=0))
    seen = await world.judge()
    begun = seen.calls[low][0]
    after_it = sum(calls[0] > begun for calls in seen.calls.values())
    world.findings.figures["urgent_tasks_after_it"] = after_it
    world.findings.require(
        after_it > size.tasks // 4, "priority 0 waited for nearly all other tasks"
    )


def pairs_in_order(priorities: list[int]) -> float:
    """The share of pairs of different priorities in which the higher priority came first."""
    # `seen[p]` counts the tasks of priority p so far: one pass counts all pairs.
    seen, right, pairs = [0] * 10, 0, 0
    for each in priorities:
        right += sum(seen[each + 1 :])
        pairs += sum(seen) - seen[each]
        seen[each] += 1
    return right / pairs if pairs else 1.0
