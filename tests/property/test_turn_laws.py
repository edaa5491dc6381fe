"""An interrupted run resumes from its journal: no turn is paid twice, no effect happens twice."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.catalog.catalog import load
from agentd.catalog.spec import AgentSpec
from agentd.metrics import Metrics
from agentd.models.mock import EchoModel
from agentd.models.port import ChatRequest, Completion, ToolCall
from agentd.nats.bus import Bus
from agentd.protocol.message import AgentIdentity, new
from agentd.protocol.subjects import Subjects
from agentd.queue.journal import ANSWERED, CALLED, TURN, Step
from agentd.run.budget import TaskBudget
from agentd.run.context import RunContext
from agentd.run.deadline import Deadline
from agentd.run.loop import RunResult, run
from agentd.run.memory import Memory
from agentd.run.revision import Revision
from agentd.tools.port import Call, Emitted
from agentd.tools.toolbox import Toolbox, ToolboxEntry

MANIFEST = """
capabilities: [analysis]
instructions: Hi.
tools: [{agent: plain}, {agent: mail, effects: true}, {agent: bank, effects: true}]
output: {schema: {type: object, required: [sum]}, retries: 5}
limits: {turns: 50}
"""


class Crash(BaseException):
    """The process was killed."""


@dataclass
class World:
    """What survives a crash: the journal and the effects. The dice decide when a crash comes."""

    dice: random.Random
    chance: float
    steps: dict[Step, Mapping[str, Any]] = field(default_factory=dict[Step, Mapping[str, Any]])
    asked: list[int] = field(default_factory=list[int])
    done: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def maybe(self) -> None:
        if self.dice.random() < self.chance:
            raise Crash

    async def step(self, kind: str, turn: int, index: int = 0, **details: Any) -> None:
        """Records a step. It may crash just before or just after that."""
        await asyncio.sleep(0)
        self.maybe()
        self.steps[kind, turn, index] = details
        self.maybe()

    async def note(self, kind: str, *, mark: str = "", **details: Any) -> None:
        """Ignores notes, which a run never reads."""


class Talker(EchoModel):
    """A model that calls tools, then gives a bad answer, then a good one.

    Only the messages that it receives decide what it does.
    """

    def __init__(self, world: World, plan: Sequence[Sequence[str]]) -> None:
        super().__init__()
        self._world = world
        self._plan = plan

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        check(request.messages)
        turn = sum(each["role"] == "assistant" for each in request.messages)
        self._world.asked.append(turn)
        self._world.maybe()
        if turn < len(self._plan):
            names = self._plan[turn]
            calls = tuple(
                ToolCall(f"{turn}-{i}", name, f'{{"n": "{turn}.{i}"}}')
                for i, name in enumerate(names)
            )
            return Completion("", "talker", "tool_calls", tool_calls=calls)
        good = turn > len(self._plan)
        return Completion('{"sum": 3}' if good else "three", "talker", "stop")


class Doer:
    """A tool that records each call that it executes; it is its own source."""

    description, parameters, trouble = "Does it.", {"type": "object"}, ""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.takes_key = name == "bank"
        self._world = world

    @property
    def tools(self) -> Sequence[Doer]:
        return (self,)

    async def call(self, call: Call) -> Any:
        await asyncio.sleep(0)
        self._world.maybe()
        self._world.done.setdefault(self.name, []).append(call.key)
        self._world.maybe()
        return "done"

    def emitted(self, arguments: Mapping[str, Any]) -> Sequence[Emitted]:
        """A message for each accepted call; a run that resumes must have it once, too."""
        return [Emitted(to=f"event.done.{self.name}", content=dict(arguments))]


def check(messages: Sequence[Mapping[str, Any]]) -> None:
    """Checks that every tool call has an answer, and every answer a call."""
    open_calls: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            open_calls.remove(message["tool_call_id"])
            continue
        assert not open_calls
        open_calls = [call["id"] for call in message.get("tool_calls", ())]
    assert not open_calls


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> AgentSpec:
    folder = tmp_path_factory.mktemp("project") / "manifests"
    folder.mkdir()
    (Path(folder) / "me.yaml").write_text(MANIFEST)
    return load(folder).agents["me"]


async def one_run(spec: AgentSpec, world: World, plan: Sequence[Sequence[str]]) -> RunResult:
    doers = {name: Doer(world, name) for name in ("plain", "mail", "bank")}
    entries = [ToolboxEntry(tool, doers[str(tool.agent)]) for tool in spec.manifest.tools]
    message = new("task", "go", source=AgentIdentity(id="somebody"), id="t")
    deadline = Deadline.of(message, limit=60, now=message.sent_at)

    def unused() -> Any:
        raise AssertionError("a run without costs needs no account")

    limits = spec.manifest.limits
    budget = TaskBudget(message, limits, deadline, unused, lambda: message.sent_at)
    bus = Bus({}, print)  # never connected: the agent has no history, and the task has no files
    context = RunContext(
        deadline=deadline,
        budget=lambda: budget,
        metrics=Metrics(),
        now=0.0,
        journal=lambda: world,
        memory=lambda: Memory(bus, Subjects("t"), message, agent=AgentIdentity(id="me")),
        bus=bus,
        steps=dict(world.steps),
    )
    return await run(Revision(spec, (Talker(world, plan),), Toolbox(entries)), message, context)


plans = st.lists(
    st.lists(st.sampled_from(["plain", "mail", "bank", "nobody"]), min_size=1, max_size=4),
    max_size=4,
)


@settings(max_examples=75)
@given(plan=plans, seed=st.integers(0, 2**32), chance=st.sampled_from([0.0, 0.05, 0.2, 0.5]))
def test_an_interrupted_run_resumes_and_ends_as_planned(
    spec: AgentSpec, plan: list[list[str]], seed: int, chance: float
) -> None:
    world = World(random.Random(seed), chance)
    crashes = 0
    while True:
        try:
            result = asyncio.run(one_run(spec, world, plan))
            break
        except Crash:
            crashes += 1
            if crashes > 40:
                world.chance = 0.0
    assert result.data == {"sum": 3}
    assert result.turns == len(plan) + 2
    # A call of `mail` that was interrupted is an error, and asks for no message.
    sure = [name for names in plan for name in names if name in ("plain", "bank")]
    emitted = [each.to.removeprefix("event.done.") for each in result.emitted]
    assert [name for name in emitted if name != "mail"] == sure
    # The turns with tools and the bad answer. The good answer is stored with the result.
    turns = {turn for kind, turn, _ in world.steps if kind == TURN}
    assert turns == set(range(1, len(plan) + 2))
    for turn in range(len(plan) + 2):
        assert world.asked.count(turn) <= 1 + crashes
    if not crashes:
        assert world.asked == list(range(len(plan) + 2))
    for name in ("mail", "bank"):
        keys = world.done.get(name, [])
        wanted = {
            f"t.{turn}.{index}"
            for turn, names in enumerate(plan, 1)
            for index, each in enumerate(names)
            if each == name
        }
        assert set(keys) <= wanted
        if (
            name == "mail"
        ):  # it takes no key: never called twice, and perhaps not at all after a crash
            assert len(keys) == len(set(keys))
        else:
            assert set(keys) == wanted
    calls = {(turn, index) for kind, turn, index in world.steps if kind == ANSWERED}
    assert calls == {(t, i) for t, names in enumerate(plan, 1) for i in range(len(names))}
    effects = {(turn, index) for kind, turn, index in world.steps if kind == CALLED}
    assert len(effects) == sum(name in ("mail", "bank") for names in plan for name in names)


@settings(max_examples=50)
@given(plan=plans, seed=st.integers(0, 2**32))
def test_a_stored_step_is_neither_paid_nor_executed_again(
    spec: AgentSpec, plan: list[list[str]], seed: int
) -> None:
    world = World(random.Random(seed), 0.3)
    ended = 0
    for _ in range(30):
        recorded = {turn for kind, turn, _ in world.steps if kind == TURN}
        answered = {f"t.{turn}.{i}" for kind, turn, i in world.steps if kind == ANSWERED}
        world.asked.clear()
        world.done.clear()
        with contextlib.suppress(Crash):
            asyncio.run(one_run(spec, world, plan))
            ended += 1
        assert not recorded & {turn + 1 for turn in world.asked}
        assert not answered & {key for keys in world.done.values() for key in keys}
        if ended == 2:  # the second of them had every step on record
            break
