"""One attempt at a task: admitted, run, and its outcome put on record."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager

from agentd import crash_points
from agentd.agent import outcome as outcomes
from agentd.agent.admission import Misdirected, admit
from agentd.agent.emit import FollowUp, plan
from agentd.agent.outcome import Outcome
from agentd.agent.retry import pause
from agentd.agent.services import Services
from agentd.agent.stream import Deltas
from agentd.errors import (
    Again,
    AgentdError,
    BusError,
    Paused,
    TaskError,
    Throttled,
    TooLarge,
    Undeliverable,
)
from agentd.nats import jetstream
from agentd.nats.jetstream import Record
from agentd.nats.objects import whole
from agentd.protocol.destination import Destination
from agentd.protocol.message import AgentIdentity, AgentMessage
from agentd.protocol.trace import TraceContext
from agentd.queue import approvals, dead_letters
from agentd.queue.approvals import Verdicts
from agentd.queue.delivery import Delivery
from agentd.queue.journal import FAILED, HANDED_BACK, STARTED, Journal
from agentd.routing.eligibility import address
from agentd.run.context import Reader, RunContext
from agentd.run.deadline import Deadline
from agentd.run.loop import RunResult, run
from agentd.run.memory import Memory
from agentd.run.revision import Revision

log = logging.getLogger(__name__)


class Attempt:
    """What one delivery of a task leads to, on the revision of the moment it came."""

    def __init__(
        self,
        message: AgentMessage,
        delivery: Delivery,
        *,
        revision: Revision,
        source: AgentIdentity,
        services: Services,
    ) -> None:
        self._message = message
        self._delivery = delivery
        self._revision = revision
        self._source = source
        self._services = services
        self._trace = TraceContext.accept(delivery.headers).child()
        self._started = time.monotonic()
        self._number = 1
        self._verdicts = Verdicts()
        self._follow_ups: tuple[FollowUp, ...] = ()
        limits = revision.spec.manifest.limits
        self._deadline = Deadline.of(message, limit=limits.timeout, now=services.clock())
        self._journal = Journal(services.bus, services.subjects, message, delivery, source=source)
        self._memory = Memory(services.bus, services.subjects, message, agent=source)
        self._result = outcomes.result_subject(services.subjects, delivery.topic, message.id)

    async def make(self) -> Outcome | None:
        """Returns when the task needs no more work: its outcome is on record.

        None means that it was there before, or that the task was sent on or laid by.

        Raises:
            Again: this attempt failed, and another is worth it.
            Conflict: another replica's outcome came first.
            BusError: something could not be recorded; the task is to be delivered again.
        """
        if await outcomes.on_record(self._services.bus, self._result):
            return None
        try:
            outcome = await self._answer()
            await self._commit(outcome)
        except Misdirected:
            return await self._forward()
        except Paused as paused:
            return await self._suspend(paused)
        except asyncio.CancelledError:
            await self.excuse(patience=0.5)
            raise
        crash_points.here("after-commit")
        return outcome

    async def refuse(self, error: TaskError) -> Outcome:
        """Records that this task is not even tried: a dead letter and an error result.

        Raises:
            BusError: as `make`.
        """
        outcome = self._outcome(error=error)
        await self._commit(outcome)
        crash_points.here("after-letter")
        return outcome

    async def _answer(self) -> Outcome:
        """Runs the task, streaming its answer; an error is an outcome too."""
        deltas = self._deltas() if self._revision.spec.manifest.stream else None
        try:
            try:
                outcome = self._outcome(result=await self._run(deltas))
            except TaskError as error:
                outcome = self._outcome(error=await self._final(error))
        finally:
            if deltas:
                await deltas.stop()
        if deltas:
            await deltas.finish()
        return outcome

    async def _run(self, reader: Reader | None) -> RunResult:
        """Admits the task and runs it, unless its conversation is stopped."""
        message, manifest = self._message, self._revision.spec.manifest
        self._require_in_time()
        admit(
            message,
            to=Destination(self._delivery.subject.domain, self._delivery.subject.specificity),
            agent=self._source.id,
            capabilities=manifest.capabilities,
            hops=manifest.limits.hops,
            now=self._services.clock(),
        )
        with self._services.cancellations.obeyed(message):
            async with await self._turn():
                crash_points.here("before-model")
                result = await self._complete(reader)
                crash_points.here("after-model")
        return result

    def _require_in_time(self) -> None:
        """Of the tasks of a schedule that waited for a replica, the last one is enough.

        Raises:
            TaskError: the next one is due already, and this one was never begun (`missed`).
        """
        overtaken_at = self._delivery.overtaken_at
        if overtaken_at and self._delivery.attempt == 1 and self._services.clock() >= overtaken_at:
            raise TaskError("the next task of its schedule was due first", code="missed")

    async def _complete(self, reader: Reader | None) -> RunResult:
        """The answer. A bug is an error of this task, and is not tried again."""
        services, message = self._services, self._message
        limits = self._revision.spec.manifest.limits
        try:
            context = RunContext(
                deadline=self._deadline,
                budget=services.budgets.of_task(message, limits, self._deadline),
                metrics=services.metrics,
                now=services.clock(),
                record=self._journal,
                memory=self._memory,
                bus=services.bus,
                reader=reader,
                verdicts=self._verdicts,
            )
            message = await whole(services.bus, message)
            result = await run(self._revision, message, context)
            self._follow_ups = plan(
                self._revision,
                message,
                result,
                self._source,
                subject=self._result,
                now=context.now,
            )
            return result
        except AgentdError:
            raise
        except Exception as error:
            log.exception("a bug ended task %s", message.id, extra={"agent": self._source.id})
            raise TaskError(f"{type(error).__name__}: {error}", code="internal") from error

    async def _turn(self) -> AbstractAsyncContextManager[None]:
        """Finds which attempt this is. One that may kill the process waits for its turn: of such
        tasks a process runs one at a time, and notes it, so that the others are not blamed.

        Raises:
            Undeliverable: too many attempts ended without a word.
            Paused: this delivery has laid the task by already.
        """
        standing = await self._journal.read()
        allowed = self._revision.spec.manifest.retry.attempts
        self._number = min(standing.attempt, allowed)
        if standing.attempt > allowed:
            raise Undeliverable(
                f"{allowed} attempts ended without an outcome, with the process they ran in",
                code="poisonous",
            )
        self._verdicts = await approvals.verdicts(
            self._services.bus, self._services.subjects, self._message.id, self._delivery
        )
        return self._alone() if standing.suspect else contextlib.nullcontext()

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncGenerator[None]:
        async with self._services.suspects:
            await self._journal.note(STARTED)
            yield

    async def _final(self, error: TaskError) -> TaskError:
        """The error that the task ends with.

        Raises:
            Again: it may pass, and there is an attempt left and time for it.
        """
        if not error.retryable:
            return error
        retry = self._revision.spec.manifest.retry
        throttled = isinstance(error, Throttled)  # nothing was tried: it waits its turn
        if self._number >= retry.attempts and not throttled:
            return Undeliverable(
                f"{self._number} attempts failed, the last one with {error.code}: {error}",
                code="exhausted",
            )
        delay = pause(retry, self._number, error)
        if not self._deadline.allows(delay):
            return error
        kind = HANDED_BACK if throttled else FAILED
        await self._journal.note(kind, error={"code": error.code, "message": str(error)})
        raise Again(error, delay=delay)

    async def _commit(self, outcome: Outcome) -> None:
        try:
            await self._record(outcome)
        except TooLarge as error:
            await self._record(self._outcome(error=TaskError(str(error), code="answer_too_large")))

    async def _record(self, outcome: Outcome) -> None:
        await outcomes.commit(
            self._services.bus,
            self._result,
            outcome,
            task=self._message,
            source=self._source,
            headers=self._trace.headers(),
            also=[
                *await self._remembered(outcome),
                *await self._emitted(outcome),
                *self._letters(outcome.error),
            ],
        )

    async def _emitted(self, outcome: Outcome) -> list[Record]:
        """What follows an answer; of an error, nothing does."""
        if not outcome.success or not self._follow_ups:
            return []
        return await self._services.emitter.records(self._follow_ups, self._trace.headers())

    async def _remembered(self, outcome: Outcome) -> list[Record]:
        """What the conversation keeps of this task. One that is a conversation of its own is kept
        only by an agent that could go on with it."""
        own = self._message.context.conversation_id == self._message.id
        if outcome.result is None or (own and not self._revision.spec.manifest.history):
            return []
        data = outcome.result.data
        answer = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
        try:
            return [await self._memory.exchange(outcome.result.asked, answer)]
        except BusError as error:
            # The answer is dearer than the memory of it.
            log.warning("%s will not be remembered: %s", self._message.id, error)
            return []

    def _letters(self, error: TaskError | None) -> list[Record]:
        if not isinstance(error, Undeliverable):
            return []
        letter = dead_letters.dead_letter(
            self._services.subjects,
            self._delivery,
            reason=error.code,
            error=error,
            attempts=self._number,
            task_id=self._message.id,
        )
        return [letter]

    async def _forward(self) -> Outcome | None:
        """Sends a task to whom its body says it is for. A sender who knows the routes would have
        sent it there, or been told that nobody is there; so this one is told by a result."""
        services, message, subject = self._services, self._message, self._delivery.subject
        here = Destination(subject.domain, subject.specificity)
        try:
            to = await address(services.bus, services.subjects, here, message)
        except TaskError as error:
            return await self.refuse(Undeliverable(str(error), code=error.code))
        await jetstream.store(
            services.bus,
            services.subjects.task(to.domain, to.specificity, message.routing.priority),
            self._delivery.data,
            message_id=f"{message.id}@{to.specificity}",
            headers=self._delivery.headers_for(message.id),
        )
        crash_points.here("after-forward")
        return None

    async def _suspend(self, paused: Paused) -> None:
        """Has the task delivered again when a person has decided."""
        if paused.calls:
            services = self._services
            await approvals.suspend(
                services.bus,
                services.subjects,
                self._message,
                self._delivery,
                paused,
                source=self._source,
            )
            crash_points.here("after-request")
            log.info("%s %s", self._message.id[:8], paused, extra={"agent": self._source.id})

    async def excuse(self, *, patience: float) -> None:
        """Tells the journal, within `patience` seconds, that this delivery was no attempt."""
        try:
            await self._journal.note(HANDED_BACK, patience=patience)
        except BusError as error:
            log.warning("%s counts as an attempt: %s", self._message.id, error)

    def _outcome(
        self, *, result: RunResult | None = None, error: TaskError | None = None
    ) -> Outcome:
        return Outcome(
            revision=self._revision.spec.revision,
            model=self._revision.model.name,
            latency=(time.monotonic() - self._started) * 1000,
            result=result,
            error=error,
        )

    def _deltas(self) -> Deltas:
        return Deltas(
            self._services.bus,
            self._services.subjects.stream(self._message.id),
            task=self._message,
            source=self._source,
            headers=self._trace.headers(),
        )
