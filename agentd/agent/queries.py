"""Queries: quick questions over request and reply in a queue group, never stored, never queued."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace

from agentd.agent.admission import Misdirected, admit
from agentd.agent.outcome import Outcome
from agentd.agent.services import Services
from agentd.errors import BusError, DecodeError, SubjectError, TaskError, TooLarge
from agentd.nats.bus import Msg, Subscription
from agentd.nats.objects import require_room
from agentd.protocol import trace
from agentd.protocol.destination import Destination
from agentd.protocol.message import AgentIdentity, AgentMessage, decode, encode, new
from agentd.protocol.subjects import Subject, is_foreign
from agentd.protocol.trace import TraceContext, entered
from agentd.run.context import NoStepLog, RunContext
from agentd.run.deadline import Deadline
from agentd.run.loop import RunResult, run
from agentd.run.memory import Memory
from agentd.run.revision import Revision
from agentd.run.spending import Spending
from agentd.telemetry import active

log = logging.getLogger(__name__)

# A queue group: one capable agent answers each query, whichever process it is in.
_GROUP = "agentd"


class Queries:
    """The queries of one agent; it answers as many at the same time as its concurrency allows."""

    def __init__(
        self,
        services: Services,
        live: Callable[[], Revision],
        on_outcome: Callable[[AgentMessage, Outcome], None],
    ) -> None:
        self._services = services
        self._live = live
        self._on_outcome = on_outcome
        self._capabilities: tuple[str, ...] = ()
        self._subscriptions: list[Subscription] = []
        self._running: set[asyncio.Task[None]] = set()

    async def listen(self, capabilities: Iterable[str]) -> None:
        """Answers queries for exactly these capabilities from now on."""
        wanted = tuple(capabilities)
        if wanted == self._capabilities:
            return
        await self.close()
        self._capabilities = wanted
        for capability in wanted:
            subject = self._services.subjects.pattern(f"query.{capability}.*")
            self._subscriptions.append(
                await self._services.bus.subscribe(subject, self._on_query, _GROUP)
            )

    async def close(self) -> None:
        """Takes no more queries; those that are running are answered."""
        self._capabilities = ()
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            await subscription.close()

    async def _on_query(self, msg: Msg) -> None:
        if not is_foreign(msg.reply):
            log.warning("a query is ignored: its answer may not go to %r", msg.reply[:100])
            return
        # In its own asyncio task: the next message of a subscription waits for this callback.
        answering = self._answer(msg, self._live())
        task = self._services.bus.background.start("answer to a query", answering)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _answer(self, msg: Msg, live: Revision) -> None:
        headers, size = msg.headers or {}, len(msg.data)
        if active.tracer is None:
            around: AbstractContextManager[None] = entered(TraceContext.accept(headers).child())
        else:
            around = active.tracer.process(
                msg.subject, headers, agent=live.spec.name, size=size, attempt=1
            )
        with around:
            await self._answer_traced(msg, live)

    async def _answer_traced(self, msg: Msg, live: Revision) -> None:
        source = AgentIdentity(id=live.spec.name, type="agent")
        started = time.monotonic()
        query, spending = new("query", None, source=source), Spending()
        try:
            sent = decode(msg.data, type="query")
            require_room(self._services.bus, sent, len(msg.data))
            query = sent
            if active.tracer:
                active.tracer.identify(query)
            if len(self._running) > live.spec.manifest.limits.concurrency:
                raise TaskError(f"{live.spec.name} is busy", code="overloaded", retryable=True)
            result, error = await self._run(query, msg, live, spending), None
        except (DecodeError, SubjectError, Misdirected) as refused:
            result, error = None, TaskError(str(refused), code="malformed")
        except TaskError as failed:
            result, error = None, failed
        except BusError as away:
            result, error = None, TaskError(str(away), code="unavailable", retryable=True)
        outcome = Outcome(
            revision=live.spec.revision,
            model=live.model.name,
            latency=(time.monotonic() - started) * 1000,
            result=result,
            error=error,
            spending=spending,
        )
        if error and active.tracer:
            active.tracer.failed(error)
        self._on_outcome(query, outcome)
        try:
            await self._reply(msg, query.reply("result", outcome.content(), source=source))
        except TooLarge as large:
            failed = TaskError(str(large), code="answer_too_large")
            outcome = replace(outcome, result=None, error=failed)
            await self._reply(msg, query.reply("result", outcome.content(), source=source))

    async def _run(
        self, query: AgentMessage, msg: Msg, live: Revision, spending: Spending
    ) -> RunResult:
        services, manifest = self._services, live.spec.manifest
        limits, now = manifest.limits, services.clock()
        subject = Subject.parse(msg.subject)
        admit(
            query,
            to=Destination(subject.domain, subject.specificity),
            agent=live.spec.name,
            capabilities=manifest.capabilities,
            hops=limits.hops,
            now=now,
        )
        deadline = Deadline.of(query, limit=limits.timeout, now=now)
        with services.cancellations.obeyed(query):
            context = RunContext(
                deadline=deadline,
                budget=lambda: services.budgets.of_task(query, limits, deadline),
                metrics=services.metrics,
                now=now,
                journal=NoStepLog,
                memory=lambda: Memory(
                    services.bus,
                    services.subjects,
                    query,
                    agent=AgentIdentity(id=live.spec.name, type="agent"),
                ),
                bus=services.bus,
                spending=spending,
            )
            return await run(live, query, context)

    async def _reply(self, msg: Msg, answer: AgentMessage) -> None:
        if not msg.reply:
            return
        try:
            await self._services.bus.publish(msg.reply, encode(answer), headers=trace.headers())
        except TooLarge:
            raise
        except BusError as error:
            log.warning("a query was not answered: %s", error)
