"""Joins: one agent's facts are gathered on the server, and what is complete runs once.

Which facts belong together is one value of a bucket, changed by compare-and-set: references, not
contents. The change that completes it also closes it, so that whoever goes on from there puts the
same task on record; an event that can be stored only once goes with the task in one batch.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

from agentd import crash, jetstream, schedules
from agentd.bus import Bus
from agentd.delivery import TOPIC, Delivery
from agentd.errors import Conflict, DecodeError, TaskError
from agentd.gathering import Fact, Gathering, branch_of, common, key_of, places_of
from agentd.jetstream import ApiError, Record
from agentd.manifest_flow import Join
from agentd.message import AgentIdentity, AgentMessage, Context, Routing, decode, encode, new
from agentd.objects import fit, whole
from agentd.outcome import Outcome
from agentd.schedules import Entry, Timing
from agentd.shared import Shared
from agentd.spec import AgentSpec
from agentd.streams import JOINS, LOG, bucket
from agentd.subjects import TOKEN, Subject, Subjects, digest
from agentd.subscription import DUE

log = logging.getLogger(__name__)

SPECIFICITY = "joined"  # of a join's task and its result

_KEPT = 37 * 86400  # seconds that a join is remembered: longer than any timeout, to know late facts
_LARGEST = 32 * 1024**2  # bytes of all its facts together
_AT_ONCE = 16  # facts that are read at the same time

_WHY: Mapping[str, str] = {
    "timeout": "not all facts came within {timeout:g} s (join.timeout); missing: {missing}",
    "too_many": "{count:,} facts came, and it is not complete; missing: {missing}",
    "too_large": "its facts are more than {limit:,} bytes together",
}


@dataclass(frozen=True)
class _Known:
    """A fact with its message, as LOG has it."""

    subject: Subject
    message: AgentMessage
    size: int


class Joins:
    """The joins of one agent, as this process knows them."""

    def __init__(self, bus: Bus, subjects: Subjects, agent: str) -> None:
        self._bus = bus
        self._subjects = subjects
        self._agent = agent
        self._source = AgentIdentity(id="agentd-join", type="runtime")
        self._shared: WeakValueDictionary[str, Shared[Gathering]] = WeakValueDictionary()

    async def add(self, delivery: Delivery, message: AgentMessage, spec: AgentSpec) -> None:
        """Adds a fact to the join that it belongs to, and starts its run if that completes it.

        Raises:
            BusError: the fact is to be delivered again.
        """
        join = _join_of(spec)
        key = key_of(message, join)
        name = join_id(self._subjects.env, self._agent, join, key)
        subject = delivery.subject
        topic = f"{subject.type}.{subject.domain}.{subject.specificity}"
        fact = Fact(delivery.sequence, topic, branch_of(message, join, key))
        gathering = await self._change(name, lambda before: before.add(fact, join, time.time()))
        crash.here("after-joined")
        if fact not in gathering.facts:
            await self._tell_late(name, delivery, message)
        elif gathering.closed:
            await self._start(name, gathering, spec)
        elif gathering.facts[0] == fact:
            await self._set_timer(name, gathering, join)

    async def give_up(self, due: AgentMessage, spec: AgentSpec) -> None:
        """Does what is to be done when a join's time is up.

        Raises:
            BusError: as `add`.
        """
        content = due.payload.content
        name = content.get("join") if isinstance(content, dict) else None
        if not isinstance(name, str) or not re.fullmatch(TOKEN, name):
            return  # anybody may publish there
        gathering = await self._change(name, lambda before: before.give_up())
        if gathering.closed and spec.manifest.join:
            await self._start(name, gathering, spec)

    async def _change(self, name: str, edit: Any) -> Gathering:
        """What the gathering is after `edit`."""
        subject = f"{bucket(JOINS)}.{self._subjects.env}.{name}"
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
        """Has the server tell us when the time is up, whichever replica is there then."""
        due = new(
            "event",
            {"event": DUE, "join": name, "agent": self._agent},
            source=self._source,
            id=f"{name}-due",
            context=Context(conversation_id="system"),
        )
        timer = Entry(
            subject=self._subjects.schedule("join", name),
            target=self._subjects.event(DUE, self._agent),
            data=encode(due),
            timing=Timing.at(gathering.started + join.timeout),
        )
        await schedules.put(self._bus, timer)

    async def _start(self, name: str, gathering: Gathering, spec: AgentSpec) -> None:
        """Puts the run of a closed gathering on record, or its failure; once, whoever does it."""
        if gathering.done:
            return
        crash.here("before-join")
        join = _join_of(spec)
        ordered = gathering.in_order(join)
        facts = await self._read(ordered)
        task = self._task(name, gathering, ordered, facts, spec)
        failure = _failure(gathering, facts, join)
        told = await self._told(name, task, gathering, join)
        try:
            if failure is None:
                run = await self._run(task, spec)
                await jetstream.store_all(self._bus, [told, run])
                log.info("%s joined %d facts", name[:8], len(facts), extra={"agent": self._agent})
            else:
                result = await self._error(task, spec, failure)
                await jetstream.store_all(self._bus, [told, result])
                log.warning(
                    "%s was not joined: %s", name[:8], failure, extra={"agent": self._agent}
                )
        except Conflict:
            log.debug("%s was joined before", name)
        crash.here("after-join")
        await self._change(name, lambda before: replace(before, done=True))
        await schedules.remove(self._bus, self._subjects.schedule("join", name))

    async def _read(self, facts: Sequence[Fact]) -> list[_Known]:
        """The facts from the log; what it has forgotten is left out."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(fact: Fact) -> _Known | None:
            async with room:
                return await self._fact(fact.sequence)

        found = await asyncio.gather(*map(one, facts))
        return [each for each in found if each is not None]

    async def _fact(self, sequence: int) -> _Known | None:
        try:
            answer = await jetstream.api(self._bus, f"STREAM.MSG.GET.{LOG}", {"seq": sequence})
        except ApiError as error:
            log.warning("fact %d is gone: %s", sequence, error, extra={"agent": self._agent})
            return None
        stored = answer["message"]
        subject, data = Subject.parse(stored["subject"]), base64.b64decode(stored.get("data", ""))
        try:
            kind = "result" if subject.type == "result" else "event"
            message = await whole(self._bus, decode(data, type=kind, id=str(sequence)))
        except (DecodeError, TaskError) as error:
            log.warning("fact %d is left out: %s", sequence, error, extra={"agent": self._agent})
            return None
        return _Known(subject, message, len(encode(message)))

    def _task(
        self,
        name: str,
        gathering: Gathering,
        ordered: Sequence[Fact],
        facts: Sequence[_Known],
        spec: AgentSpec,
    ) -> AgentMessage:
        """The task of a join. Of what its facts do not share it has what is strictest."""
        join = _join_of(spec)
        content = {
            "complete": gathering.closed == "complete",
            "missing": list(gathering.missing(join)),
            "facts": [_shown(each) for each in facts],
        }
        if not facts:
            return new("task", content, source=self._source, id=name)
        last = max(facts, key=lambda each: each.message.context.hops).message
        inner = len(ordered[0].branch) if join.count == "all" else 0
        shared = common([places_of(each.message) for each in facts])
        outer = min(shared, len(facts[0].message.context.siblings) - inner)
        context = Context(
            conversation_id=last.context.conversation_id,
            parent_message_id=last.id,
            metadata=last.context.metadata,
            hops=last.context.hops,
            path=last.context.path,
            siblings=facts[0].message.context.siblings[: max(0, outer)],
        )
        most_urgent = max(each.message.routing.priority for each in facts)
        return new(
            "task",
            content,
            source=self._source,
            id=name,
            target=self._agent,
            correlation_id=last.correlation_id or last.id,
            context=context,
            routing=Routing(priority=most_urgent),
        )

    async def _run(self, task: AgentMessage, spec: AgentSpec) -> Record:
        priority = task.routing.priority
        return Record(
            subject=self._subjects.task_for(self._agent, priority),
            data=await fit(self._bus, task),
            message_id=task.id,
            headers={TOPIC: ".".join(topic_of(spec))},
        )

    async def _error(self, task: AgentMessage, spec: AgentSpec, error: TaskError) -> Record:
        outcome = Outcome(revision=spec.revision, model="", latency=0.0, error=error)
        source = AgentIdentity(id=self._agent, type="agent")
        return Record(
            subject=self._subjects.result(*topic_of(spec), task.id),
            data=encode(task.reply("result", outcome.content(), source=source)),
            message_id=f"{task.id}.join",
            create=True,
        )

    async def _told(
        self, name: str, task: AgentMessage, gathering: Gathering, join: Join
    ) -> Record:
        """The event that says what was joined; there can be only one."""
        content = {
            "event": "joined",
            "agent": self._agent,
            "task": name,
            "complete": gathering.closed == "complete",
            "missing": list(gathering.missing(join)),
            "facts": [fact.sequence for fact in gathering.facts],
        }
        return Record(
            subject=self._subjects.event("join", name),
            data=encode(task.reply("event", content, source=self._source)),
            message_id=f"{name}.joined",
            create=True,
        )

    async def _tell_late(self, name: str, delivery: Delivery, fact: AgentMessage) -> None:
        log.warning(
            "%s: %s from %s is late for its join",
            name[:8],
            delivery.subject,
            fact.source.id,
            extra={"agent": self._agent},
        )
        content = {"event": "late", "agent": self._agent, "task": name, "fact": delivery.sequence}
        await jetstream.store(
            self._bus,
            self._subjects.event("join_late", name),
            encode(fact.reply("event", content, source=self._source)),
            message_id=f"{name}.late.{delivery.sequence}",
        )


def join_id(env: str, agent: str, join: Join, key: str) -> str:
    """The id of the join of an agent whose facts have this key in common, and of its task."""
    return digest(f"{env} {agent} {join.by} {key}")


def topic_of(spec: AgentSpec, specificity: str = SPECIFICITY) -> tuple[str, str]:
    """Domain and specificity under which the results of such runs stand: the agent's first
    capability's, so that others find them where its other results are."""
    held = spec.manifest.capabilities
    return (held[0], specificity) if held else ("_agent", spec.name)


def _join_of(spec: AgentSpec) -> Join:
    assert spec.manifest.join is not None
    return spec.manifest.join


def _failure(gathering: Gathering, facts: Sequence[_Known], join: Join) -> TaskError | None:
    """Why it is not run, if it is not."""
    why = "" if gathering.closed == "complete" else gathering.closed
    if why == "timeout" and join.on_timeout == "run":
        why = ""
    if sum(each.size for each in facts) > _LARGEST:
        why = "too_large"
    if not why:
        return None
    text = _WHY[why].format(
        timeout=join.timeout,
        missing=", ".join(gathering.missing(join)),
        count=len(gathering.facts),
        limit=_LARGEST,
    )
    return TaskError(text, code=f"join_{why}")


def _shown(fact: _Known) -> dict[str, Any]:
    """A fact as the prompt of a join sees it."""
    subject, message = fact.subject, fact.message
    shown: dict[str, Any] = {
        "subject": f"{subject.type}.{subject.domain}.{subject.specificity}",
        "agent": message.source.id,
    }
    content = message.payload.content
    if subject.type == "result" and isinstance(content, dict) and "success" in content:
        shown |= {"success": content["success"], "data": content.get("data")}
        return shown if content["success"] else {**shown, "error": content.get("error")}
    return {**shown, "success": True, "data": content}
