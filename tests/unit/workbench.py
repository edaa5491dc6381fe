"""One agent on a bus in memory: its handler, the deliveries that it gets, and what it stores."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from agentd.agent.delivered_task import DeliveredTask
from agentd.agent.handler import Handler
from agentd.agent.services import Services
from agentd.agent.stats import AgentStats
from agentd.catalog.catalog import load
from agentd.errors import BusError
from agentd.metrics import Metrics
from agentd.models.port import ChatRequest, Completion, Model, ToolCall, Usage
from agentd.nats.bus import Bus, Msg
from agentd.nats.streams import LOG
from agentd.problems import errors
from agentd.protocol.message import AgentIdentity, AgentMessage, decode
from agentd.protocol.subjects import Subject, Subjects
from agentd.queue.cancellations import Cancellations
from agentd.queue.delivery import Delivery
from agentd.queue.queue import Queue
from agentd.routing.registry import Replica, announce
from agentd.routing.routes import RouteTable
from agentd.run.budget import Budgets
from agentd.run.context import NoStepLog, RunContext
from agentd.run.deadline import Deadline
from agentd.run.memory import Memory
from agentd.run.revision import Revision
from agentd.tools.port import Call
from agentd.tools.toolbox import Toolbox, ToolboxEntry
from tests.memory_bus import MemoryBus

NOW = 1_700_000_000.0
TASK = "agents.dev.task.analysis.x"
MANIFEST = "capabilities: [analysis]\ninstructions: Hi."
Answer = str | Completion | BaseException


class ScriptedModel:
    """A model that gives these answers, one a call, and the last one for all further calls.

    A text is streamed word by word. `requests` has what the model was called with.
    """

    is_mock = True

    def __init__(self, *answers: Answer, price: float | None = 0.0, name: str = "mock/m") -> None:
        self.name = name
        self.answers: list[Answer] = list(answers or ("hello",))
        self.price = price
        self.requests: list[ChatRequest] = []

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await asyncio.sleep(0)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, str):
            answer = Completion(answer, self.name, "stop", usage=Usage(1, 2), cost=self.price)
        if on_delta:
            for word in answer.text.split():
                on_delta(word)
        return answer

    def cost_of(self, usage: Usage) -> float | None:
        return self.price

    async def close(self) -> None: ...


def calls(*names: str) -> Completion:
    """An answer that calls these tools, without arguments."""
    asked = tuple(ToolCall(f"call-{number}", name, "{}") for number, name in enumerate(names))
    return Completion("", "mock/m", "tool_calls", asked, usage=Usage(1, 2), cost=0.0)


class FakeTool:
    """A tool, and the source of it. It gives these answers, one a call, and the last one again.

    `made` has the calls that it was asked for.
    """

    description = "Does it."
    trouble = ""

    def __init__(self, name: str, *answers: Any, takes_key: bool = False) -> None:
        self.name = name
        self.parameters: Mapping[str, Any] = {"type": "object"}
        self.takes_key = takes_key
        self.answers: list[Any] = list(answers or ("done",))
        self.made: list[Call] = []

    @property
    def tools(self) -> Sequence[FakeTool]:
        return (self,)

    async def call(self, call: Call) -> Any:
        self.made.append(call)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await asyncio.sleep(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


class RecordingLog:
    """A step log in memory. `entries` has the kind, the turn, the index and the details of each."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, int, int, Mapping[str, Any]]] = []
        self.failing = False

    async def step(self, kind: str, turn: int, index: int = 0, **details: Any) -> None:
        await asyncio.sleep(0)
        if self.failing:
            raise BusError("no server")
        self.entries.append((kind, turn, index, details))

    async def note(self, kind: str, *, mark: str = "", **details: Any) -> None:
        await self.step(kind, 0, mark=mark, **details)

    @property
    def kinds(self) -> list[tuple[str, int, int]]:
        """The entries without their details."""
        return [entry[:3] for entry in self.entries]

    def steps(self) -> dict[tuple[str, int, int], Mapping[str, Any]]:
        """The entries as a resumed run gets them."""
        return {(kind, turn, index): details for kind, turn, index, details in self.entries}


class ExpectingQueue:
    """The queue's port to a handler: notes what is handed back."""

    def __init__(self) -> None:
        self.expected: list[tuple[Delivery, float]] = []

    def expect(self, delivery: Delivery, delay: float) -> None:
        self.expected.append((delivery, delay))


def revision_of(
    folder: Path, manifest: str, *models: Model, tools: Sequence[FakeTool] = ()
) -> Revision:
    """The revision of an agent `me` with this manifest; `tools` are those of its `tools:`."""
    project = folder / "manifests"
    project.mkdir(exist_ok=True)
    (project / "me.yaml").write_text(manifest)
    catalog = load(project)
    assert not errors(catalog.problems), catalog.problems
    spec = catalog.agents["me"]
    entries = map(ToolboxEntry, spec.manifest.tools, tools)
    return Revision(spec, models or (ScriptedModel(),), Toolbox(tuple(entries)))


@dataclass
class Workbench:
    """The agent `me`, its services and its server. `now` is the wall clock of the agent."""

    revision: Revision
    bus: MemoryBus = field(default_factory=MemoryBus)
    queue: ExpectingQueue = field(default_factory=ExpectingQueue)
    stats: AgentStats = field(default_factory=AgentStats)
    now: float = NOW
    settlements: list[bytes] = field(default_factory=list[bytes])

    def __post_init__(self) -> None:
        bus = cast("Bus", self.bus)
        self.services = Services(
            bus=bus,
            queue=cast("Queue", self.queue),
            routes=cast("RouteTable", None),
            subjects=Subjects("dev"),
            budgets=Budgets(bus, "dev", lambda: self.now),
            cancellations=Cancellations(bus, "dev"),
            metrics=Metrics(),
            clock=lambda: self.now,
        )
        self.handler = Handler("me", self.stats, self.services)

    def delivery(
        self,
        data: bytes | Mapping[str, Any] = b'{"payload": {"content": "hello"}}',
        *,
        subject: str = TASK,
        attempt: int = 1,
        headers: Mapping[str, str] | None = None,
        sequence: int = 7,
    ) -> Delivery:
        """A delivery of a task; `attempt` is counted by the server."""
        return Delivery(
            data=data if isinstance(data, bytes) else json.dumps(data).encode(),
            headers={"Agentd-Task": "t-1", **(headers or {})},
            subject=Subject.parse(subject),
            attempt=attempt,
            stored_at=self.now,
            sequence=sequence,
            bus=cast("Bus", self.bus),
            reply=f"$JS.ACK.AGENTD_WORK.c.{attempt}.1.1.1.0",
            on_settled=lambda _: None,
        )

    def task(self, delivery: Delivery | None = None) -> DeliveredTask:
        """A delivery in the hands of the agent."""
        delivery = delivery or self.delivery()
        return DeliveredTask(
            message=delivery.task(),
            delivery=delivery,
            revision=self.revision,
            source=AgentIdentity(id="me", type="agent"),
            services=self.services,
        )

    def context(self, message: AgentMessage, **changes: Any) -> RunContext:
        """What a run of this message may use."""
        limits, bus = self.revision.spec.manifest.limits, self.services.bus
        deadline = Deadline.of(message, limit=limits.timeout, now=self.now)
        source = AgentIdentity(id="me", type="agent")
        options: dict[str, Any] = {
            "deadline": deadline,
            "budget": lambda: self.services.budgets.of_task(message, limits, deadline),
            "metrics": self.services.metrics,
            "now": self.now,
            "journal": NoStepLog,
            "memory": lambda: Memory(bus, self.services.subjects, message, agent=source),
            "bus": bus,
            **changes,
        }
        return RunContext(**options)

    async def handle(self, delivery: Delivery | None = None) -> bytes:
        """What the agent's handler settles this delivery with."""
        delivery = delivery or self.delivery()
        settled: list[bytes] = []

        async def confirm(msg: Msg) -> None:
            settled.append(msg.data)
            await self.bus.publish(msg.reply, b"")

        subscription = await self.bus.subscribe(delivery.reply, confirm)
        try:
            await self.handler.handle(delivery, self.revision)
        finally:
            await subscription.close()
        assert len(settled) == 1
        return settled[0]

    def stored(self, pattern: str) -> list[AgentMessage]:
        """The messages that the log has on `agents.dev.{pattern}`."""
        stream = self.bus.streams[LOG]
        return [decode(each.data) for each in stream.on(f"agents.dev.{pattern}")]

    def result(self) -> Mapping[str, Any]:
        """The content of the only result."""
        [message] = self.stored("result.>")
        return message.payload.content

    def dead_letter(self) -> Mapping[str, str]:
        """The headers of the only dead letter."""
        [letter] = self.bus.streams[LOG].on("agents.dev.dlq.>")
        return letter.headers

    def journal(self) -> Sequence[str]:
        """The kinds of the entries of the task's journal."""
        return [message.payload.content["event"] for message in self.stored("event.run.*")]

    async def online(self, agent: str, *capabilities: str) -> None:
        """Announces a replica of another agent."""
        await announce(
            cast("Bus", self.bus), "dev", replica(agent, *capabilities), heartbeat=5, wait=True
        )


def replica(agent: str, *capabilities: str) -> Replica:
    """A replica of an agent that is online."""
    return Replica(
        agent=agent,
        instance="1",
        host="here",
        pid=1,
        capabilities=list(capabilities),
        model="mock/echo",
        mock=True,
        revision="1",
        refused=[],
        done=0,
        failed=0,
        in_flight=0,
        concurrency=1,
        p50=None,
        tokens=0,
        cost=0.0,
        started=0.0,
        seen=0.0,
    )
