"""Joins: the facts of one agent are gathered on the server, and a complete join runs once.

The state of a join is one value of a bucket, changed by compare-and-set. It holds references to
facts, not their contents. The change that completes the join also closes it, so every replica that
continues from there makes the same task. An event that can be stored only once is in one batch with
the task.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from weakref import WeakValueDictionary

from agentd import crash_points
from agentd.agent import join_task
from agentd.agent.fan_out import Fact, FanOuts, fan_outs_of
from agentd.agent.join_state import Gathering, branch_of, key_of
from agentd.agent.outcome import Outcome
from agentd.agent.services import Services
from agentd.catalog.spec import AgentSpec
from agentd.errors import Conflict, TaskError
from agentd.manifest.flow import JOINED, Join
from agentd.nats import jetstream, schedules
from agentd.nats.jetstream import Record
from agentd.nats.objects import fit
from agentd.nats.schedules import ScheduleEntry, Timing
from agentd.nats.shared_value import Shared
from agentd.nats.streams import JOINS
from agentd.protocol.destination import Destination
from agentd.protocol.message import (
    AgentIdentity,
    AgentMessage,
    Context,
    encode,
    new,
    new_id,
    short_id,
)
from agentd.protocol.server_subjects import bucket
from agentd.protocol.subjects import AGENT_DOMAIN, TOKEN, digest
from agentd.protocol.trace import TraceContext
from agentd.queue.delivery import Delivery
from agentd.queue.fact_consumer import DUE
from agentd.queue.topic import topic_headers
from agentd.telemetry import active

log = logging.getLogger(__name__)

_ROOM = 4096  # bytes of a message beside the state of a join: subject and headers

_KEPT = 37 * 86400  # seconds that a join is kept: longer than any timeout, to detect late facts


class Joins:
    """The joins of one agent, as this process knows them."""

    def __init__(self, services: Services, agent: str) -> None:
        self._bus = services.bus
        self._subjects = services.subjects
        self._leads = partial(services.leads, agent)
        self._agent = agent
        self._metrics = services.metrics
        self._secret = services.secret
        self._source = AgentIdentity(id="agentd-join", type="runtime")
        self._shared: WeakValueDictionary[str, Shared[Gathering]] = WeakValueDictionary()

    async def add(self, delivery: Delivery, message: AgentMessage, spec: AgentSpec) -> None:
        """Adds a fact to its join, and stores the task of the join if that completes it.

        Raises:
            BusError: the fact is to be delivered again.
        """
        join = _join_of(spec)
        key = key_of(message, join)
        name = join_id(self._subjects.env, self._agent, join, key)
        fact = _fact_of(delivery, message, join, key)
        grow = partial(self._grow, fact, fan_outs_of(message), join)
        gathering = await self._change(name, grow)
        crash_points.here("after-joined")
        if fact not in gathering.facts:
            await self._record_late(self._identity(name, gathering), delivery, message)
        if gathering.closed:
            await self._start(name, gathering, spec)
        elif gathering.facts[0] == fact:
            await self._set_timer(name, gathering, join)

    async def give_up(self, due: AgentMessage, spec: AgentSpec) -> None:
        """Closes a join whose timeout is due.

        Raises:
            BusError: as `add`.
        """
        content = due.payload.content
        name = content.get("join") if isinstance(content, dict) else None
        if not isinstance(name, str) or not re.fullmatch(TOKEN, name):
            return  # any client may publish there
        gathering = await self._change(name, lambda before: before.close("timeout"))
        if gathering.closed and spec.manifest.join:
            await self._start(name, gathering, spec)

    def _grow(self, fact: Fact, fan_outs: FanOuts, join: Join, before: Gathering) -> Gathering:
        """The gathering with a fact; closed without it if the server could not store it."""
        after = before.add(fact, fan_outs, join=join, leads=self._leads, at=time.time())
        fits = len(after.dump()) < self._bus.max_message - _ROOM
        return after if fits else before.close("too_many")

    async def _change(self, name: str, edit: Callable[[Gathering], Gathering]) -> Gathering:
        """Changes the shared state of a join by `edit`; returns the state after it."""
        subject = bucket(JOINS, self._subjects.env, name)
        shared = self._shared.get(name)
        if shared is None:
            shared = Shared(self._bus, JOINS, subject, parse=Gathering.parse, ttl=_KEPT)
            self._shared[name] = shared
        after = Gathering()

        def keep(before: Gathering) -> Gathering:
            nonlocal after
            after = edit(before)
            return after

        await shared.change(keep)
        return after

    async def _set_timer(self, name: str, gathering: Gathering, join: Join) -> None:
        """Has the server send the timeout, so that no replica has to hold a timer."""
        due = new(
            "event",
            {"event": DUE, "join": name, "agent": self._agent},
            source=self._source,
            id=f"{name}-due",
            context=Context(conversation_id="system"),
        )
        timer = ScheduleEntry(
            subject=self._subjects.schedule("join", name),
            target=self._subjects.event(DUE, self._agent),
            data=encode(due),
            timing=Timing.at(gathering.started + join.timeout),
        )
        await schedules.put(self._bus, timer)

    async def _start(self, name: str, gathering: Gathering, spec: AgentSpec) -> None:
        """Stores the task of a closed join, or its failure; once, whichever replica is first."""
        if gathering.done:
            return
        crash_points.here("before-join")
        join = _join_of(spec)
        facts = await join_task.read(self._bus, gathering.in_order(join))
        # Anybody can derive the name of a join, but nobody the id of its task: an event or a result
        # that a stranger stored first would count as its start or its answer.
        identity = self._identity(name, gathering)
        task = join_task.task_of(
            identity, gathering, facts, join, agent=self._agent, source=self._source
        )
        failure = join_task.failure_of(gathering, facts, join)
        event = self._joined_event(task, gathering)
        traces = [each.trace for each in facts if each.trace]
        try:
            if failure is None:
                run = await self._run(task, spec, traces)
                await jetstream.store_all(self._bus, [event, run])
                log.info(
                    "%s joined %d facts",
                    short_id(task.id),
                    len(facts),
                    extra={"agent": self._agent},
                )
            else:
                result = await self._error(task, spec, failure, traces)
                await jetstream.store_all(self._bus, [event, result])
                log.warning(
                    "%s failed: %s", short_id(task.id), failure, extra={"agent": self._agent}
                )
        except Conflict:
            log.debug("%s was started before, by another replica", name)
        crash_points.here("after-join")
        await self._change(name, lambda before: replace(before, done=True))
        await schedules.remove(self._bus, self._subjects.schedule("join", name))

    async def _run(
        self, task: AgentMessage, spec: AgentSpec, traces: Sequence[TraceContext]
    ) -> Record:
        data, here = await fit(self._bus, task), Destination(AGENT_DOMAIN, self._agent)
        about = ".".join(spec.manifest.fact_topic(JOINED))
        subject = self._subjects.task_for(self._agent, task.routing.priority)
        topic = topic_headers(about, here, data, self._secret)
        headers = {**_headers(subject, task, traces), **topic}
        return Record(subject=subject, data=data, headers=headers)

    async def _error(
        self,
        task: AgentMessage,
        spec: AgentSpec,
        error: TaskError,
        traces: Sequence[TraceContext],
    ) -> Record:
        outcome = Outcome(revision=spec.revision, model="", latency=0.0, error=error)
        source = AgentIdentity(id=self._agent, type="agent")
        subject = self._subjects.result(*spec.manifest.fact_topic(JOINED), task.id)
        return Record(
            subject=subject,
            data=encode(task.reply("result", outcome.content(), source=source)),
            headers=_headers(subject, task, traces),
            after=0,
        )

    def _joined_event(self, task: AgentMessage, gathering: Gathering) -> Record:
        """The event that lists the joined facts. It can be stored once; so can the task with it."""
        content = {
            "event": "joined",
            "agent": self._agent,
            "task": task.id,
            "complete": gathering.closed == "complete",
            "missing": list(gathering.missing),
            "facts": [fact.sequence for fact in gathering.facts],
        }
        return Record(
            subject=self._subjects.event("join", task.id),
            data=encode(task.reply("event", content, source=self._source)),
            message_id=new_id(),
            after=0,
        )

    def _identity(self, name: str, gathering: Gathering) -> str:
        """The id of the task of a join."""
        oldest = min((fact.sequence for fact in gathering.facts), default=0)
        return self._secret.identify(name, oldest)

    async def _record_late(self, task: str, delivery: Delivery, fact: AgentMessage) -> None:
        self._metrics.late_fact(self._agent)
        log.warning(
            "%s: %s from %s arrived after its join had closed",
            short_id(task),
            delivery.subject,
            fact.source.id,
            extra={"agent": self._agent},
        )
        content = {"event": "late", "agent": self._agent, "task": task, "fact": delivery.sequence}
        await jetstream.store(
            self._bus,
            self._subjects.event("join_late", task),
            encode(fact.reply("event", content, source=self._source)),
            message_id=f"{task}.late.{delivery.sequence}",
        )


def _headers(subject: str, task: AgentMessage, traces: Sequence[TraceContext]) -> Mapping[str, str]:
    """The headers of what follows from the facts: the trace of the first one goes on, and there
    are links to all."""
    if active.tracer:
        conversation = task.context.conversation_id
        return active.tracer.created(subject, conversation, task, links=traces)
    return traces[0].headers() if traces else {}


def join_id(env: str, agent: str, join: Join, key: str) -> str:
    """The name of the join of an agent whose facts share this key."""
    return digest(f"{env} {agent} {join.by} {key}")


def _fact_of(delivery: Delivery, message: AgentMessage, join: Join, key: str) -> Fact:
    subject = delivery.subject
    topic = f"{subject.type}.{subject.domain}.{subject.specificity}"
    return Fact(delivery.sequence, topic, branch_of(message, join, key), task=subject.task_id or "")


def _join_of(spec: AgentSpec) -> Join:
    assert spec.manifest.join is not None
    return spec.manifest.join
