"""Takes one delivery of an agent's from here to its settlement. Nothing else settles one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from agentd import crash, jetstream
from agentd import outcome as outcomes
from agentd.admission import Misdirected, admit, deadline
from agentd.bus import Bus
from agentd.delivery import Delivery
from agentd.deltas import Deltas
from agentd.errors import BusError, Conflict, DecodeError, TaskError, TooLarge
from agentd.letters import bury
from agentd.message import AgentIdentity, AgentMessage, decode
from agentd.model import Completion
from agentd.outcome import Outcome
from agentd.queue import Queue
from agentd.run import Revision, run
from agentd.subjects import Subjects
from agentd.tally import Tally
from agentd.telemetry import Metrics
from agentd.trace import TraceContext

log = logging.getLogger(__name__)

_LONGEST_DELAY = 30.0


@dataclass(frozen=True, kw_only=True)
class Host:
    """What a process lends to its agents. `clock` gives seconds since the epoch."""

    bus: Bus
    queue: Queue
    subjects: Subjects
    metrics: Metrics
    clock: Callable[[], float] = time.time


@dataclass(frozen=True, kw_only=True)
class _Task:
    """A decoded delivery, on the revision that will answer it."""

    message: AgentMessage
    delivery: Delivery
    revision: Revision
    trace: TraceContext
    result_subject: str
    started: float = field(default_factory=time.monotonic)

    def outcome(
        self, *, completion: Completion | None = None, error: TaskError | None = None
    ) -> Outcome:
        return Outcome(
            revision=self.revision.spec.revision,
            model=self.revision.model.name,
            latency=(time.monotonic() - self.started) * 1000,
            completion=completion,
            error=error,
        )


class Handler:
    """Handles the deliveries of one agent; any number at once."""

    def __init__(self, agent: str, tally: Tally, host: Host) -> None:
        self._agent = agent
        self._tally = tally
        self._host = host
        self._identity = AgentIdentity(id=agent, type="agent")

    async def handle(self, delivery: Delivery, live: Revision) -> None:
        """Runs a task on the revision `live`, records its outcome and settles it."""
        crash.here("pulled")
        try:
            await self._perform(delivery, live)
            await delivery.ack()
            crash.here("after-ack")
        except DecodeError as error:
            log.warning("refused a message on %s: %s", delivery.subject, error, extra=self._log())
            await bury(self._host.bus, self._host.subjects, delivery, error, self._identity)
            crash.here("after-letter")
            await delivery.term("malformed")
        except BusError as error:
            log.warning("%s goes back: %s", delivery.subject, error, extra=self._log())
        finally:
            # Whatever went wrong (a bug and a cancellation too): no outcome is on record, so
            # the task goes back.
            if not delivery.settled:
                await delivery.nak(min(2.0**delivery.attempt / 2, _LONGEST_DELAY))

    async def _perform(self, delivery: Delivery, live: Revision) -> None:
        """Returns when the task needs no more work: its outcome is on record."""
        message = decode(
            delivery.data, type="task", id=delivery.default_id, timestamp=delivery.stored_at
        )
        host = self._host
        task = _Task(
            message=message,
            delivery=delivery,
            revision=live,
            trace=TraceContext.accept(delivery.headers).child(),
            result_subject=outcomes.result_subject(host.subjects, delivery.subject, message.id),
        )
        if await outcomes.on_record(host.bus, task.result_subject):
            return
        try:
            outcome = await self._answer(task)
        except Misdirected as error:
            await self._forward(task, error.target)
        else:
            await self._record(task, outcome)

    async def _answer(self, task: _Task) -> Outcome:
        """Admits and runs the task; an error is an outcome too.

        Raises:
            Misdirected: the task is another agent's.
        """
        message, manifest = task.message, task.revision.spec.manifest
        now = self._host.clock()
        try:
            admit(message, agent=self._agent, now=now)
        except TaskError as error:
            return task.outcome(error=error)
        deltas = self._deltas(task) if manifest.stream else None
        crash.here("before-model")
        try:
            completion = await run(
                task.revision,
                message,
                timeout=deadline(message, limit=manifest.limits.timeout, now=now),
                on_delta=deltas.push if deltas else None,
                now=now,
                metrics=self._host.metrics,
            )
            crash.here("after-model")
            return task.outcome(completion=completion)
        except TaskError as error:
            return task.outcome(error=error)
        except Exception as error:
            log.exception("a bug in agentd ended task %s", message.id, extra=self._log())
            bug = TaskError(f"{type(error).__name__}: {error}", code="internal")
            return task.outcome(error=bug)
        finally:
            if deltas:
                await deltas.finish()

    async def _record(self, task: _Task, outcome: Outcome) -> None:
        try:
            await self._commit(task, outcome)
        except TooLarge as error:
            outcome = task.outcome(error=TaskError(str(error), code="answer_too_large"))
            await self._commit(task, outcome)
        except Conflict:
            log.info("%s was answered elsewhere", task.message.id[:8], extra=self._log())
            return
        crash.here("after-commit")
        self._tally.count(outcome)
        status = "success" if outcome.success else "error"
        self._host.metrics.task(self._agent, status, outcome.latency / 1000)
        log.info(
            "%s %s",
            task.message.id[:8],
            outcome.in_words(),
            extra=self._log(task=task.message.id, status=status, latency=round(outcome.latency)),
        )

    async def _commit(self, task: _Task, outcome: Outcome) -> None:
        await outcomes.commit(
            self._host.bus,
            task.result_subject,
            outcome,
            task=task.message,
            source=self._identity,
            headers=task.trace.headers(),
        )

    async def _forward(self, task: _Task, target: str) -> None:
        """Sends a task that names its target in the body only to that agent's own subject."""
        message = task.message
        await jetstream.store(
            self._host.bus,
            self._host.subjects.task_for(target, message.routing.priority),
            task.delivery.data,
            message_id=f"{message.id}@{target}",
            headers=task.delivery.own_headers,
        )
        crash.here("after-forward")
        log.info("%s forwarded to %s", message.id[:8], target, extra=self._log())

    def _deltas(self, task: _Task) -> Deltas:
        return Deltas(
            self._host.bus,
            self._host.subjects.stream(task.message.id),
            task=task.message,
            source=self._identity,
            headers=task.trace.headers(),
        )

    def _log(self, **fields: object) -> dict[str, object]:
        return {"agent": self._agent, **fields}
