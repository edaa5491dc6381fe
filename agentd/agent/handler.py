"""Takes one delivery of an agent to its settlement: acknowledged, or handed back."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager

from agentd import crash_points
from agentd.agent.attempt import attempt, excuse
from agentd.agent.commit import refuse
from agentd.agent.delivered_task import DeliveredTask
from agentd.agent.facts import Facts
from agentd.agent.outcome import Outcome
from agentd.agent.services import Services
from agentd.agent.stats import AgentStats
from agentd.errors import Again, AgentdError, BusError, Conflict, DecodeError, Undeliverable
from agentd.models.port import Usage
from agentd.nats.objects import require_room
from agentd.protocol.message import AgentIdentity, AgentMessage, new, short_id
from agentd.protocol.trace import TraceContext, entered
from agentd.queue.delivery import Delivery
from agentd.run.revision import Revision
from agentd.run.spending import Spending
from agentd.telemetry import active

log = logging.getLogger(__name__)

_LONGEST_DELAY = 30.0
_OUTAGE = 300.0  # seconds that an outage may last until it counts as an attempt of the task


class Handler:
    """Handles the deliveries of one agent, any number at the same time."""

    def __init__(self, agent: str, stats: AgentStats, services: Services) -> None:
        self._source = AgentIdentity(id=agent, type="agent")
        self._stats = stats
        self._services = services
        self._facts = Facts(services, agent)

    async def handle(self, delivery: Delivery, live: Revision) -> None:
        """Runs a task on the `live` revision, records its outcome, settles the delivery once."""
        with self._traced(delivery):
            await self._handle(delivery, live)

    def _traced(self, delivery: Delivery) -> AbstractContextManager[None]:
        """Around all work on a delivery: what it sends and what it logs belongs to its trace."""
        if active.tracer is None:
            return entered(TraceContext.accept(delivery.headers).child())
        return active.tracer.process(
            delivery.published_to,
            delivery.headers,
            agent=self._source.id,
            size=len(delivery.data),
            attempt=delivery.attempt,
        )

    async def _handle(self, delivery: Delivery, live: Revision) -> None:
        crash_points.here("pulled")
        try:
            await self._perform(delivery, live)
            await delivery.ack()
            crash_points.here("after-ack")
        except Again as again:
            _mark(again.error)
            self._log(
                logging.WARNING, f"failed, next attempt in {again.delay:.1f} s: {again}", delivery
            )
            await self._hand_back(delivery, again.delay)
        except BusError as error:
            _mark(error)
            self._log(logging.WARNING, f"handed back: {error}", delivery)
        finally:
            # Whatever went wrong (a bug or a cancellation, too), no outcome is on record: the task
            # is handed back.
            if not delivery.settled:
                await self._hand_back(delivery, min(2.0**delivery.attempt / 2, _LONGEST_DELAY))

    async def _perform(self, delivery: Delivery, live: Revision) -> None:
        """Returns when the task needs no more work here: its outcome is on record, or it was
        forwarded or suspended."""
        if delivery.subject.type != "task":
            task = await self._facts.take(delivery, live.spec)
            if task is None:
                return
            delivery = task
        try:
            message = delivery.task()
            require_room(self._services.bus, message, len(delivery.data))
        except DecodeError as error:
            await self._refuse(delivery, live, error)
            return
        if active.tracer:
            active.tracer.identify(message)
        task = self._delivered(message, delivery, live)
        outcome = None
        try:
            outcome = await attempt(task)
        except Conflict:
            self._log(logging.INFO, "was answered elsewhere", delivery)
            return
        except BusError:
            # The task is not to blame for the server's failure. The journal can only be written
            # once the server is back.
            excusing = excuse(task, patience=_OUTAGE)
            self._services.bus.background.start("note in the journal", excusing)
            raise
        finally:
            if outcome is None:  # what an attempt has used counts, also if another one follows
                self._stats.spend(task.spending)
                self._measure(task.spending)
        if outcome is not None:
            if outcome.error:
                _mark(outcome.error)
            self.count(message, outcome)

    async def _refuse(self, delivery: Delivery, live: Revision, error: DecodeError) -> None:
        """Dead-letters bytes that are not a task. The sender gets an error result, on the subject
        of the id in them, where one is readable."""
        stand_in = new("task", None, source=self._source, id=delivery.task_id)
        try:
            refusal = Undeliverable(str(error), code="malformed")
            await refuse(self._delivered(stand_in, delivery, live), refusal)
        except Conflict:
            return  # dead-lettered before, by a delivery that could not be settled
        self._log(logging.WARNING, f"is not a valid task: {error}", delivery)

    async def _hand_back(self, delivery: Delivery, delay: float) -> None:
        await delivery.nak(delay)
        self._services.queue.expect(delivery, delay)

    def _delivered(
        self, message: AgentMessage, delivery: Delivery, live: Revision
    ) -> DeliveredTask:
        return DeliveredTask(
            message=message,
            delivery=delivery,
            revision=live,
            source=self._source,
            services=self._services,
        )

    def count(self, task: AgentMessage, outcome: Outcome) -> None:
        """Adds an outcome to the stats and the metrics, and logs it."""
        self._stats.count(outcome)
        self._measure(outcome.spending)
        status = "success" if outcome.success else "error"
        self._services.metrics.task(self._source.id, status, outcome.latency / 1000)
        log.log(
            logging.INFO if outcome.success else logging.WARNING,
            "%s %s",
            short_id(task.id),
            outcome.in_words(),
            extra={
                "agent": self._source.id,
                "task": task.id,
                "status": status,
                "latency": round(outcome.latency),
            },
        )

    def _measure(self, spending: Spending) -> None:
        """Adds what a delivery has used to the metrics."""
        if spending.here.calls:
            usage = spending.here.usage or Usage(0, 0)
            self._services.metrics.agent_spent(
                self._source.id,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cost=spending.here.cost,
            )

    def _log(self, level: int, text: str, delivery: Delivery) -> None:
        task = delivery.task_id
        extra = {"agent": self._source.id, "task": task}
        log.log(level, "%s %s", short_id(task), text, extra=extra)


def _mark(error: AgentdError) -> None:
    """Says in the trace that the delivery failed."""
    if active.tracer:
        active.tracer.failed(error)
