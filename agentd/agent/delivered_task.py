"""One delivered task, with all that belongs to working on it once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from agentd.agent.outcome import Outcome, result_subject
from agentd.agent.services import Services
from agentd.errors import TaskError
from agentd.manifest.agent import Manifest
from agentd.protocol.message import AgentIdentity, AgentMessage
from agentd.protocol.subjects import RESERVED_DOMAINS, Subject
from agentd.protocol.trace import TraceContext, current
from agentd.queue.delivery import Delivery
from agentd.queue.journal import Journal
from agentd.queue.topic import topic_of
from agentd.run.deadline import Deadline
from agentd.run.loop import RunResult
from agentd.run.memory import Memory
from agentd.run.revision import Revision
from agentd.run.spending import CallLog, Spending


@dataclass(frozen=True, kw_only=True, eq=False)
class DeliveredTask:
    """A task in the hands of one agent, on the revision that was live when it was pulled.

    `started` is when it was made, in seconds of the monotonic clock.
    """

    message: AgentMessage
    delivery: Delivery
    revision: Revision
    source: AgentIdentity
    services: Services
    started: float = field(default_factory=time.monotonic)
    spending: Spending = field(default_factory=Spending)

    @property
    def manifest(self) -> Manifest:
        """The manifest of the revision."""
        return self.revision.spec.manifest

    @cached_property
    def topic(self) -> Subject:
        """The subject that names what the task is about: most tasks come on it."""
        subject = self.delivery.subject
        if subject.domain not in RESERVED_DOMAINS:
            return subject
        return topic_of(self.delivery, self.services.secret)

    @cached_property
    def result_subject(self) -> str:
        """Where the result is published: the subject that its outcome can be stored on once."""
        return result_subject(self.services.subjects, self.topic, self.message.id)

    def deadline(self, used: float) -> Deadline:
        """Until when the task may be worked on, if earlier attempts used so many seconds."""
        limit = self.manifest.limits.timeout
        return Deadline.of(self.message, limit=limit, now=self.services.clock(), used=used)

    @cached_property
    def calls(self) -> CallLog:
        """The model calls of this delivery, for the record."""
        return CallLog(self.manifest.record)

    def unrecorded(self, *, answered: bool) -> dict[str, Any]:
        """The model calls that are not on record yet, for the record that is stored next;
        `answered` as in `CallLog.take`. Nothing if there are none."""
        called = self.calls.take(answered=answered)
        if not called:
            return {}
        delivery = self.delivery
        of_run = {"life": delivery.life, "delivery": delivery.attempt, "turn": self.calls.turn}
        return {**of_run, **called}

    @cached_property
    def trace(self) -> TraceContext:
        """The trace context of what is published for this task."""
        return current() or TraceContext.accept(self.delivery.headers).child()

    @cached_property
    def journal(self) -> Journal:
        """The journal of this delivery."""
        services = self.services
        return Journal(
            services.bus,
            services.subjects,
            self.message,
            self.delivery,
            source=self.source,
            secret=services.secret,
            started=self.started,
        )

    @cached_property
    def memory(self) -> Memory:
        """What this agent remembers of the task's conversation."""
        services = self.services
        return Memory(services.bus, services.subjects, self.message, agent=self.source)

    def outcome(
        self, *, result: RunResult | None = None, error: TaskError | None = None
    ) -> Outcome:
        """An outcome of this task, timed from its delivery until now."""
        return Outcome(
            revision=self.revision.spec.revision,
            model=self.revision.model.name,
            latency=(time.monotonic() - self.started) * 1000,
            result=result,
            error=error,
            spending=self.spending,
            called=self.unrecorded(answered=error is None),
        )
