"""Fan-outs and joins whose replicas die at every named crash point."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from agentd import crash_points
from agentd.agent.emit import follow_up_id
from agentd.agent.facts import run_id
from agentd.agent.joins import join_id
from agentd.manifest.flow import Join
from agentd.nats import jetstream
from agentd.nats.shared_value import Secret
from agentd.nats.streams import LOG
from agentd.protocol.message import AgentMessage, decode
from agentd.protocol.subjects import Subject
from agentd.testing.torture.harness import ENV, World
from agentd.testing.torture.oracle import Allowed, Evidence
from agentd.testing.torture.scenario import Size
from agentd.testing.torture.scenarios.kills import die_at
from agentd.testing.torture.sender import DOMAIN, TaskDraft

_LEAVES = 3
# The join of the agent `joiner`. The ids of its runs are computed from it, as agentd computes them.
_JOIN = Join(wait_for=("result.leaf.*",), by="parent", count="all")
_OF_EMITTING = ("pulled", "after-model", "mid-batch", "after-commit", "after-ack")
# A death repeats the calls that its replica was making. One task at a time makes that one call for
# each agent, so that the oracle can bound the number of extra calls.
_ONE_AT_A_TIME = {"concurrency": 1}


async def fanout(world: World, size: Size) -> None:
    """Replicas die at each point of answers that emit: no sub-task is lost or doubled."""
    secret = await _secret(world)
    _agents_that_fan_out(world)
    deaths = await _die(world, size, _OF_EMITTING)
    # Two agents run in each replica.
    await world.judge(
        Allowed(extra_calls=2 * deaths), also=lambda seen: _with_leaves(world, secret, seen)
    )


async def join(world: World, size: Size) -> None:
    """Replicas die at each point of facts and joins: each join and each fact runs exactly once."""
    secret = await _secret(world)
    _agents_that_fan_out(world)
    world.agent(
        "joiner",
        capabilities=["sum"],
        input="{{ message.id }} joins {{ content.facts | length }}",
        join={"wait_for": list(_JOIN.wait_for), "by": _JOIN.by, "count": _JOIN.count},
        limits=_ONE_AT_A_TIME,
    )
    world.agent(
        "listener",
        capabilities=["listen"],
        input="{{ message.id }} received",
        subscribe=["result.sum.*"],
        limits=_ONE_AT_A_TIME,
    )
    deaths = await _die(world, size, (*_OF_EMITTING, *crash_points.OF_JOINS))
    await world.at_rest()
    # A run for a fact is no task on the log: its id is computed from the result of the joiner.
    sums = await _messages(world, "result.sum.*.*")
    fact_runs = [
        secret.digest(run_id(subject, message.id, "listener")) for subject, message in sums
    ]

    def also(seen: Evidence) -> Evidence:
        names = [join_id(ENV, "joiner", _JOIN, name) for name in seen.accepted]
        joined = [secret.digest(name) for name in names]
        return _expecting(_with_leaves(world, secret, seen), (*joined, *fact_runs))

    # Four agents run in each replica.
    await world.judge(Allowed(extra_calls=4 * deaths), also=also)
    joins = await _messages(world, "task._agent.joiner.*")
    world.findings.figures["joins"] = len(joins)
    stored = Counter(task.id for _, task in joins)
    world.findings.require(
        set(stored.values()) == {1},
        f"{sum(count > 1 for count in stored.values())} joins were started twice",
    )
    for _, task in joins:
        facts = len(task.payload.content["facts"])
        world.findings.require(facts == _LEAVES, f"{task.id} joined {facts} facts of {_LEAVES}")


def _agents_that_fan_out(world: World) -> None:
    """Writes an agent whose answers emit tasks, and the agent that runs them."""
    leaves = {
        "task": "leaf.x",
        "for_each": f"range({_LEAVES}) | list",
        "content": "message.id ~ '.' ~ item",
    }
    world.agent(emit=[leaves], limits=_ONE_AT_A_TIME)
    world.agent("leaf", capabilities=["leaf"], limits=_ONE_AT_A_TIME)


async def _die(world: World, size: Size, points: Iterable[str]) -> int:
    """Lets two replicas die at one point after the other. Returns the number of deaths."""
    deaths = 0
    for point in points:
        _, died = await die_at(world, point, size, draft=lambda _: TaskDraft())
        world.findings.figures[point] = died
        world.findings.require(died >= size.shocks, f"{point}: died only {died} times")
        deaths += died
    return deaths


async def _secret(world: World) -> Secret:
    """The secret, before anything is on record: what is older has ids without it."""
    secret = Secret()
    await secret.read(world.bus, ENV)
    return secret


def _with_leaves(world: World, secret: Secret, seen: Evidence) -> Evidence:
    """Evidence that expects an outcome of every emitted task, too.

    The model knows such a task by the content that the rule gives it, `{task}.{leaf}`, not by id.
    """
    names = {
        f"{task}.{leaf}": _leaf(world, secret, task, leaf)
        for task in seen.accepted
        for leaf in range(_LEAVES)
    }
    calls = {names.get(label, label): times for label, times in seen.calls.items()}
    return _expecting(replace(seen, calls=calls), names.values())


def _leaf(world: World, secret: Secret, task: str, leaf: int) -> str:
    result = world.subjects.result(DOMAIN, "torture", task)
    return follow_up_id(secret.digest(result), 0, leaf)


def _expecting(seen: Evidence, tasks: Iterable[str]) -> Evidence:
    """Evidence in which these tasks count as accepted. Runs for facts are not in the log at all."""
    expected = set(tasks)
    logged: Mapping[str, int] = {**dict.fromkeys(expected, 1), **seen.logged}
    return replace(
        seen, tried={*seen.tried, *expected}, accepted={*seen.accepted, *expected}, logged=logged
    )


async def _messages(world: World, pattern: str) -> list[tuple[Subject, AgentMessage]]:
    found = jetstream.stored(world.bus, LOG, world.subjects.pattern(pattern))
    return [
        (Subject.parse((msg.headers or {})["Nats-Subject"]), decode(msg.data))
        async for msg in found
    ]
