"""Whatever is raised at whatever await of a task, its delivery is settled exactly once.

It may be told the server again, but never differently.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pytest

from agentd.agent.handler import Handler
from agentd.agent.services import Services
from agentd.agent.stats import AgentStats
from agentd.catalog.catalog import load
from agentd.errors import BusError, Conflict, ModelError, TaskError
from agentd.metrics import Metrics
from agentd.models.port import ChatRequest, Completion, Usage
from agentd.nats.bus import Bus, Msg
from agentd.protocol.subjects import Subject, Subjects
from agentd.queue.cancellations import Cancellations
from agentd.queue.delivery import Delivery
from agentd.queue.queue import Queue
from agentd.routing.registry import Replica
from agentd.routing.routes import RouteTable
from agentd.run.budget import Budgets
from agentd.run.revision import Revision

REPLY = "$JS.ACK.AGENTD_WORK.c.1.1.1.1.0"
SETTLEMENTS = (b"+ACK", b"-NAK", b"+TERM")

MANIFEST = """
capabilities: [analysis]
instructions: Hi.
subscribe: event.report.ready
"""
GOOD = b'{"payload": {"content": "hello"}}'
ELSEWHERE = b'{"payload": {"content": "hello"}, "target": "somebody-else"}'
FACT = b'{"type": "event", "payload": {"content": "hello"}}'
GARBAGE = b"{"
SOMEBODY = json.dumps(
    asdict(
        Replica(
            agent="somebody-else",
            instance="1",
            host="here",
            pid=1,
            capabilities=["analysis"],
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
    )
).encode()

ENTRY = {
    "Nats-Sequence": "1",
    "Nats-Subject": "$KV.agentd_agents.dev.somebody-else.1",
    "Nats-Num-Pending": "0",
}

INJECTED: list[Callable[[], BaseException]] = [
    lambda: BusError("the connection was lost"),
    lambda: Conflict("there is one already"),
    lambda: ModelError("overloaded", code="model_overloaded", retryable=True),
    lambda: TaskError("no", code="any"),
    lambda: RuntimeError("a bug"),
    asyncio.CancelledError,
]


class Closed:
    """A subscription that is over."""

    async def close(self) -> None: ...


class MemoryBus:
    """The bus's port in memory: takes everything, answers like a server, suspends at each call."""

    max_message = 1_000_000

    def __init__(self) -> None:
        self.settled: list[bytes] = []
        self.stored: dict[str, bytes] = {}
        self.handlers: dict[str, Callable[[Msg], Awaitable[None]]] = {}

    async def publish(
        self, subject: str, data: bytes, *, headers: object = None, reply: str = ""
    ) -> None:
        self._note(subject, data)
        await asyncio.sleep(0)
        if subject.startswith("$JS.API.DIRECT.GET") and json.loads(data)["seq"] == 1:
            await self.handlers[reply](answer(SOMEBODY, ENTRY))
        if reply:
            await self.handlers[reply](answer(b"", {"Status": "204"}))

    def new_inbox(self) -> str:
        return f"_INBOX.{len(self.handlers)}"

    async def subscribe(self, subject: str, handler: Callable[[Msg], Awaitable[None]]) -> Closed:
        self.handlers[subject] = handler
        await asyncio.sleep(0)
        return Closed()

    async def request(
        self, subject: str, data: bytes = b"", *, headers: object = None, timeout: float = 5
    ) -> Msg:
        self._note(subject, data)
        await asyncio.sleep(0)
        if subject.startswith("$JS.API.DIRECT.GET"):
            return answer(b"", {"Status": "404"})
        if subject.startswith("$JS.API.STREAM.INFO"):
            return answer(b'{"state": {}}')
        if not subject.startswith("$"):
            self.stored[subject] = data
        return answer(json.dumps({"seq": 1}).encode())

    async def until_connected(self, deadline: float | None = None) -> None:
        await asyncio.sleep(0)

    def _note(self, subject: str, data: bytes) -> None:
        if subject == REPLY and data.startswith(SETTLEMENTS):
            self.settled.append(data)


class Silent:
    """The queue's port to a handler."""

    def expect(self, delivery: Delivery, delay: float) -> None: ...


class WordByWord:
    """A model that streams two words."""

    name = "mock/two-words"
    is_mock = True

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        for word in ("hello ", "there"):
            await asyncio.sleep(0)
            if on_delta:
                on_delta(word)
        return Completion("hello there", self.name, "stop", usage=Usage(1, 2), cost=0.0)

    def cost_of(self, usage: Usage) -> float | None:
        return 0.0

    async def close(self) -> None: ...


class Interrupted:
    """Awaits `work`, and raises inside it where it is suspended for the `at`-th time."""

    def __init__(
        self, work: Coroutine[Any, Any, None], at: int, error: Callable[[], BaseException]
    ) -> None:
        self.work = work
        self.at = at
        self.error = error
        self.suspensions = 0

    def __await__(self) -> Generator[Any, Any, None]:
        raised: BaseException | None = None
        while True:
            try:
                waiting = self.work.throw(raised) if raised else self.work.send(None)
            except StopIteration:
                return
            raised = None
            self.suspensions += 1
            if self.suspensions == self.at:
                raised = self.error()
                continue
            try:
                yield waiting
            except BaseException as error:  # noqa: BLE001 (handed on, as the event loop does)
                raised = error


def answer(data: bytes, headers: dict[str, str] | None = None) -> Msg:
    return Msg(_client=cast("Any", None), data=data, headers=headers)


@pytest.fixture(scope="module")
def revision(tmp_path_factory: pytest.TempPathFactory) -> Revision:
    project = tmp_path_factory.mktemp("project")
    (project / "manifests").mkdir()
    (project / "manifests" / "me.yaml").write_text(MANIFEST)
    return Revision(load(Path(project / "manifests")).agents["me"], (WordByWord(),))


async def handle(
    revision: Revision,
    data: bytes,
    at: int,
    error: Callable[[], BaseException],
    subject: str = "agents.dev.task.analysis.x",
) -> tuple[MemoryBus, int]:
    bus = MemoryBus()
    real = cast("Bus", bus)
    delivery = Delivery(
        data=data,
        headers={},
        subject=Subject.parse(subject),
        attempt=1,
        stored_at=1.0,
        sequence=7,
        bus=real,
        reply=REPLY,
        on_settled=lambda _: None,
    )
    services = Services(
        bus=real,
        queue=cast("Queue", Silent()),
        routes=cast("RouteTable", None),
        subjects=Subjects("dev"),
        budgets=Budgets(real, "dev"),
        cancellations=Cancellations(real, "dev"),
        metrics=Metrics(),
    )
    work = Interrupted(Handler("me", AgentStats(), services).handle(delivery, revision), at, error)
    # The law is about the delivery; where nothing is injected, nothing may be raised.
    with contextlib.suppress(BaseException) if at else contextlib.nullcontext():
        await work
    return bus, work.suspensions


@pytest.mark.parametrize("data", [GOOD, ELSEWHERE, GARBAGE], ids=["good", "elsewhere", "garbage"])
@pytest.mark.parametrize("error", INJECTED, ids=lambda error: type(error()).__name__)
async def test_settled_once(
    revision: Revision, data: bytes, error: Callable[[], BaseException]
) -> None:
    _, awaits = await handle(revision, data, 0, error)
    assert awaits >= 3
    for at in range(1, awaits + 1):
        bus, _ = await handle(revision, data, at, error)
        assert len(set(bus.settled)) == 1, f"raised at await {at} of {awaits}"


@pytest.mark.parametrize("error", INJECTED, ids=lambda error: type(error()).__name__)
async def test_a_fact_is_settled_once(
    revision: Revision, error: Callable[[], BaseException]
) -> None:
    fact = "agents.dev.event.report.ready"
    told, awaits = await handle(revision, FACT, 0, error, fact)
    assert told.settled == [b"+ACK"]
    assert awaits >= 3
    for at in range(1, awaits + 1):
        bus, _ = await handle(revision, FACT, at, error, fact)
        assert len(set(bus.settled)) == 1, f"raised at await {at} of {awaits}"


async def test_acknowledged_only_with_an_outcome_on_record(revision: Revision) -> None:
    result = "agents.dev.result.analysis.x."
    _, awaits = await handle(revision, GOOD, 0, INJECTED[0])
    for error in INJECTED:
        for at in range(1, awaits + 1):
            bus, _ = await handle(revision, GOOD, at, error)
            recorded = any(subject.startswith(result) for subject in bus.stored)
            answered_elsewhere = isinstance(error(), Conflict)
            assert bus.settled != [b"+ACK"] or recorded or answered_elsewhere


async def test_the_three_endings(revision: Revision) -> None:
    for data, ending in ((GOOD, b"+ACK"), (ELSEWHERE, b"+ACK"), (GARBAGE, b"+ACK")):
        bus, _ = await handle(revision, data, 0, INJECTED[0])
        assert bus.settled == [ending]
