"""Loops of agents, and more tasks than the agents can run."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from agentd.errors import TaskError
from agentd.nats.bus import Msg
from agentd.protocol.destination import Destination
from agentd.protocol.message import AgentIdentity, AgentMessage, encode, new
from agentd.protocol.subjects import Subject
from agentd.routing import eligibility
from agentd.testing.stub_model import Behaviour
from agentd.testing.torture.harness import IN_FLIGHT, World
from agentd.testing.torture.oracle import Allowed
from agentd.testing.torture.scenario import Size
from agentd.testing.torture.sender import DOMAIN, TaskDraft

_ME = AgentIdentity(id="torture", type="external")
_RING = "abcdefghij"


@dataclass(frozen=True)
class _Shape:
    """A loop of agents.

    Attributes:
        next_of: the agents that each agent emits to; an agent named twice gets two tasks.
        hops: the limit of hops.
        calls: how many model calls a task may cause under this limit.
    """

    next_of: Mapping[str, str]
    hops: int
    calls: int


_SHAPES = {
    "pair": _Shape({"a": "b", "b": "a"}, hops=16, calls=17),
    "ring": _Shape(dict(zip(_RING, _RING[1:] + _RING[0], strict=True)), hops=16, calls=17),
    "fan": _Shape({"a": "bbb", "b": "ccc", "c": "aaa"}, hops=4, calls=1 + 3 + 9 + 27 + 81),
    "echo": _Shape({"a": "a"}, hops=16, calls=1),
}
_ENOUGH = 2_000  # tasks of one shape after which the relay stops: the limit does not work


async def loops(world: World, size: Size) -> None:
    """Agents in a pair, a ring, a fan, and alone emit to each other: exactly the allowed calls."""
    for shape, rules in _SHAPES.items():
        for agent in rules.next_of:
            name = f"{shape}-{agent}"
            world.agent(name, capabilities=[name], limits={"concurrency": 8, "hops": rules.hops})
    relay = _Relay(world)
    await world.bus.subscribe(world.subjects.pattern("result.>"), relay.on_result)
    await world.bus.fence()
    await world.up(2)
    started = time.time()
    for shape in _SHAPES:
        for _ in range(size.tasks):
            await relay.begin(shape)
    await world.at_rest()
    await relay.idle()
    # Exactly the tasks that exceed a limit have a dead letter, and no loop runs on after that.
    seen = await world.judge(Allowed(dead=relay.cut))
    last = max(max(calls) for calls in seen.calls.values())
    world.limit("quiet_after", last - started, 5.0 * world.setup.slowness)
    for shape, rules in _SHAPES.items():
        calls, bound = relay.calls(shape), rules.calls * size.tasks
        world.findings.figures[f"{shape}_calls"] = calls
        world.findings.require(calls == bound, f"{shape}: {calls} calls, not {bound}")


class _Relay:
    """Emits to the next agent after each result, as the rules of a manifest would.

    Attributes:
        tasks: the ids of the tasks of each shape.
        cut: the tasks that exceed a limit, and the reason of their dead letter.
    """

    def __init__(self, world: World) -> None:
        self.tasks: dict[str, set[str]] = {shape: set() for shape in _SHAPES}
        self.cut: dict[str, str] = {}
        self._sender = world.sender
        self._calls = world.calls.times
        self._messages: dict[str, AgentMessage] = {}
        self._followed: set[str] = set()
        self._jobs: set[asyncio.Task[str]] = set()

    async def begin(self, shape: str) -> None:
        """Sends a task to the first agent of a shape."""
        await self._send(shape, "a", None, _ME)

    async def on_result(self, msg: Msg) -> None:
        """Sends the follow-up tasks of a result. An error result has none."""
        subject = Subject.parse(msg.subject)
        task = str(subject.task_id)
        if task in self._followed:
            return  # a result whose acknowledgement was late is published again
        self._followed.add(task)
        parent = self._messages[task]
        if not json.loads(msg.data)["payload"]["content"]["success"]:
            return
        shape, _, agent = subject.domain.partition("-")
        if len(self.tasks[shape]) > _ENOUGH:
            return  # nothing stops the loop; the number of calls will show it
        for receiver in _SHAPES[shape].next_of[agent]:
            job = asyncio.create_task(
                self._send(shape, receiver, parent, AgentIdentity(id=subject.domain, type="agent"))
            )
            self._jobs.add(job)
            job.add_done_callback(self._jobs.discard)

    def calls(self, shape: str) -> int:
        """How often the model was called for the tasks of a shape."""
        return sum(len(self._calls.get(task, ())) for task in self.tasks[shape])

    async def idle(self) -> None:
        """Returns when no task is being sent any more."""
        while self._jobs:
            await asyncio.gather(*self._jobs)

    async def _send(
        self, shape: str, receiver: str, parent: AgentMessage | None, source: AgentIdentity
    ) -> str:
        agent = f"{shape}-{receiver}"

        def body(name: str) -> bytes:
            content = f"{name} please"
            message = (
                parent.child("task", content, source=source, id=name)
                if parent
                else new("task", content, source=source, id=name)
            )
            self._record(shape, agent, message)
            return encode(message)

        return await self._sender.send_one(TaskDraft(domain=agent, body=body))

    def _record(self, shape: str, agent: str, message: AgentMessage) -> None:
        self._messages[message.id] = message
        self.tasks[shape].add(message.id)  # again if the sender repeats it
        context = message.context
        if context.path and context.path[-1] == agent:
            self.cut[message.id] = "loop"
        elif context.hops > _SHAPES[shape].hops:
            self.cut[message.id] = "hops"


async def overload(world: World, size: Size) -> None:
    """Twice as many tasks as the agents can run: accepted ones end, the others are refused."""
    # On a slow machine the sender is slow as well: the model must be slower than it.
    latency = 0.5 * world.setup.slowness
    world.stub.behaviour = Behaviour(latency=latency)
    world.agent()
    # The sender checks the length of the queue, and the sender is this process.
    before = eligibility.QUEUE_LIMIT
    setattr(eligibility, "QUEUE_LIMIT", size.tasks)  # noqa: B010 (pyright allows no assignment)
    try:
        await world.sender.send(size.tasks)
        await world.up(1)
        refusals, accepted = await _press(world, 2 * IN_FLIGHT / latency, size.shocks)
    finally:
        setattr(eligibility, "QUEUE_LIMIT", before)  # noqa: B010
    world.stub.behaviour = Behaviour()
    await world.judge()
    world.findings.figures |= {"refused": len(refusals), "let_in": accepted}
    world.findings.require(bool(refusals), "no task was refused")
    # On a machine that also does other work, a single refusal may wait for the CPU.
    world.limit("median_refusal_ms", median(refusals or [0]) * 1000, 50, "ms")
    world.limit("slowest_refusal_ms", max(refusals, default=0) * 1000, 1_000, "ms")


async def _press(world: World, rate: float, seconds: float) -> tuple[list[float], int]:
    """Sends tasks as `agentd send` does. Returns the seconds of each refusal, and the accepted."""
    refusals: list[float] = []
    accepted = 0
    due = time.monotonic()
    end = due + seconds
    while due < end:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        due += 1 / rate
        started = time.monotonic()
        try:
            task = new("task", "please", source=_ME)
            await eligibility.address(
                world.bus, world.subjects, Destination(DOMAIN, "torture"), task
            )
        except TaskError as error:
            world.findings.require(error.code == "overloaded", f"refused with {error.code}")
            refusals.append(time.monotonic() - started)
        else:
            accepted += 1
            await world.sender.send_one()
    return refusals, accepted
