"""Whatever exception is raised at whichever await, a delivery is settled exactly once.

The settlement may be sent to the server more than once, but never a different one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Generator
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
from agentd.nats.streams import LOG
from agentd.protocol.subjects import Subject, Subjects
from agentd.queue.cancellations import Cancellations
from agentd.queue.delivery import Delivery
from agentd.queue.queue import Queue
from agentd.routing.registry import announce
from agentd.routing.routes import RouteTable
from agentd.run.budget import Budgets
from agentd.run.revision import Revision
from tests.memory_bus import MemoryBus
from tests.unit.workbench import replica

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
SOMEBODY = replica("somebody-else", "analysis")

INJECTED: list[Callable[[], BaseException]] = [
    lambda: BusError("the connection was lost"),
    lambda: Conflict("there is a message already"),
    lambda: ModelError("overloaded", code="model_overloaded", retryable=True),
    lambda: TaskError("no", code="any"),
    lambda: RuntimeError("a bug"),
    asyncio.CancelledError,
]


class Server:
    """A server with one delivery. It records everything that is published."""

    def __init__(self) -> None:
        self.bus = MemoryBus()

    async def start(self) -> None:
        """Confirms settlements, and announces another agent."""
        await self.bus.subscribe(REPLY, self._confirm)
        await announce(cast("Bus", self.bus), "dev", SOMEBODY, heartbeat=5, wait=True)

    async def _confirm(self, msg: Msg) -> None:
        await self.bus.publish(msg.reply, b"")

    @property
    def settlements(self) -> list[bytes]:
        return [
            data
            for subject, data in self.bus.published
            if subject == REPLY and data.startswith(SETTLEMENTS)
        ]

    def has_result(self) -> bool:
        return bool(self.bus.streams[LOG].on("agents.dev.result.analysis.x.*"))


class Silent:
    """The part of the queue that a handler uses."""

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
    """Awaits `work`, and raises an error inside it at its `at`-th suspension."""

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
            except BaseException as error:  # noqa: BLE001 (passed on to the work, as the event loop does)
                raised = error


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
) -> tuple[Server, int]:
    """Runs the handler. Returns the server, and how often the handler was suspended."""
    server = Server()
    await server.start()
    bus = cast("Bus", server.bus)
    delivery = Delivery(
        data=data,
        headers={},
        subject=Subject.parse(subject),
        attempt=1,
        stored_at=1.0,
        sequence=7,
        bus=bus,
        reply=REPLY,
        on_settled=lambda _: None,
    )
    services = Services(
        bus=bus,
        queue=cast("Queue", Silent()),
        routes=cast("RouteTable", None),
        subjects=Subjects("dev"),
        budgets=Budgets(bus, "dev"),
        cancellations=Cancellations(bus, "dev"),
        metrics=Metrics(),
    )
    work = Interrupted(Handler("me", AgentStats(), services).handle(delivery, revision), at, error)
    # The law is about the delivery, not the exception. Without an injected error, none may come.
    with contextlib.suppress(BaseException) if at else contextlib.nullcontext():
        await work
    return server, work.suspensions


@pytest.mark.parametrize("data", [GOOD, ELSEWHERE, GARBAGE], ids=["good", "elsewhere", "garbage"])
@pytest.mark.parametrize("error", INJECTED, ids=lambda error: type(error()).__name__)
async def test_a_task_is_settled_once(
    revision: Revision, data: bytes, error: Callable[[], BaseException]
) -> None:
    _, awaits = await handle(revision, data, 0, error)
    assert awaits >= 3
    for at in range(1, awaits + 1):
        server, _ = await handle(revision, data, at, error)
        assert len(set(server.settlements)) == 1, f"raised at await {at} of {awaits}"


@pytest.mark.parametrize("error", INJECTED, ids=lambda error: type(error()).__name__)
async def test_a_fact_is_settled_once(
    revision: Revision, error: Callable[[], BaseException]
) -> None:
    fact = "agents.dev.event.report.ready"
    undisturbed, awaits = await handle(revision, FACT, 0, error, fact)
    assert undisturbed.settlements == [b"+ACK"]
    assert awaits >= 3
    for at in range(1, awaits + 1):
        server, _ = await handle(revision, FACT, at, error, fact)
        assert len(set(server.settlements)) == 1, f"raised at await {at} of {awaits}"


async def test_a_task_is_acknowledged_only_if_its_outcome_is_stored(revision: Revision) -> None:
    _, awaits = await handle(revision, GOOD, 0, INJECTED[0])
    for error in INJECTED:
        for at in range(1, awaits + 1):
            server, _ = await handle(revision, GOOD, at, error)
            answered_elsewhere = isinstance(error(), Conflict)
            assert server.settlements != [b"+ACK"] or server.has_result() or answered_elsewhere


async def test_an_undisturbed_delivery_is_acknowledged(revision: Revision) -> None:
    for data, ending in ((GOOD, b"+ACK"), (ELSEWHERE, b"+ACK"), (GARBAGE, b"+ACK")):
        server, _ = await handle(revision, data, 0, INJECTED[0])
        assert server.settlements == [ending]
