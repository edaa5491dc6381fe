"""Emit: the tasks and events that follow an answer, by the manifest's rules and by the model.

They are planned when the answer is complete, and stored together with the result or not at all.
Their ids are derived from the task: a repeated run repeats the ids, so nothing is sent twice.
"""

from __future__ import annotations

import json
import logging
import reprlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentd.catalog.spec import AgentSpec
from agentd.errors import PromptError, TaskError
from agentd.manifest.flow import Emit, EmitRule, Outlet
from agentd.nats.bus import Bus
from agentd.nats.jetstream import Record
from agentd.nats.objects import fit
from agentd.nats.shared_value import Secret
from agentd.protocol.destination import Destination, Recipients
from agentd.protocol.fields import DEEPEST, Constraints, Payload, Routing, Sibling
from agentd.protocol.message import AgentIdentity, AgentMessage, encode
from agentd.protocol.subjects import Subjects, digest
from agentd.queue.topic import topic_headers
from agentd.routing import registry, routes
from agentd.run.conversation import template_context
from agentd.run.loop import RunResult
from agentd.run.revision import Revision
from agentd.telemetry import active
from agentd.tools.port import Emitted

log = logging.getLogger(__name__)

# The server accepts 1,000 messages in one batch, with the result and its other records.
MOST = 990

_LOOK_AGAIN = 60.0  # seconds between two warnings that no agent takes a kind of task


@dataclass(frozen=True, kw_only=True)
class FollowUp:
    """A task or an event, `topic` being its domain and specificity."""

    topic: str
    message: AgentMessage

    @property
    def subject(self) -> str:
        """`task` or `event`, domain and specificity."""
        return f"{self.message.type}.{self.topic}"


@dataclass(frozen=True, kw_only=True)
class _Draft:
    """A planned message: the `place`-th of the rule of this `number`."""

    rule: EmitRule
    number: int
    outlet: Outlet
    content: Any
    place: int = 0


def plan(
    revision: Revision,
    task: AgentMessage,
    result: RunResult,
    source: AgentIdentity,
    *,
    seed: str,
    now: float,
) -> tuple[FollowUp, ...]:
    """The tasks and events that follow this result; the run began at `now`, in seconds since the
    epoch. Their ids are derived from `seed`, which is the same for each run of the task.

    Raises:
        TaskError: an expression fails, or its value cannot be sent, or is too much
            (`emit_failed`).
    """
    spec, emit = revision.spec, revision.spec.manifest.emit
    context = template_context(revision, revision.model_for(task), task, now)
    context["output"] = readable(result.data)
    drafts = [
        draft
        for number, rule in enumerate(emit.rules)
        for draft in _Rule(spec, number, rule).drafts(context)
    ]
    drafts += _of_the_model(result.emitted, len(emit.rules))
    if len(drafts) > MOST:
        raise _failed(f"{len(drafts):,} messages would follow; the most are {MOST}")
    share = _share(task, result, sum(bool(draft.rule.task) for draft in drafts))
    follow_ups = tuple(
        _placed(_follow_up(draft, task, source, share, seed=seed), sibling)
        for draft, sibling in zip(drafts, _siblings(drafts, task, emit), strict=True)
    )
    for draft, each in zip(drafts, follow_ups, strict=True):
        _check(draft, each)
    return follow_ups


def _check(draft: _Draft, follow_up: FollowUp) -> None:
    try:
        encode(follow_up.message)
    except TaskError as error:
        raise _failed(f"emit rule {draft.number + 1}, {follow_up.topic}: {error}") from error


def readable(data: Any) -> Any:
    """An answer as expressions see it: text that is a JSON object or list becomes that value."""
    if isinstance(data, str) and data.strip()[:1] in ("{", "["):
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            return data
    return data


class _Rule:
    """One rule of a manifest, applied to one answer."""

    def __init__(self, spec: AgentSpec, number: int, rule: EmitRule) -> None:
        self._spec = spec
        self._number = number
        self._rule = rule

    def drafts(self, context: Mapping[str, Any]) -> list[_Draft]:
        """The messages that the rule makes of an answer."""
        rule = self._rule
        if rule.for_each is None:
            if not self._holds(context):
                return []
            return [self._draft(context, context["output"])]
        found = [{**context, "item": item} for item in self._items(context)]
        return [
            self._draft(each, each["item"], place)
            for place, each in enumerate(filter(self._holds, found))
        ]

    def _draft(self, context: Mapping[str, Any], content: Any, place: int = 0) -> _Draft:
        return _Draft(
            rule=self._rule,
            number=self._number,
            outlet=self._outlet(context),
            content=self._value("content", context, content),
            place=place,
        )

    def _outlet(self, context: Mapping[str, Any]) -> Outlet:
        outlets = self._rule.outlets
        if self._rule.choose is None:
            return outlets[0]
        choice = self._value("choose", context, None)
        if outlet := self._rule.chosen(choice):
            return outlet
        names = ", ".join(each.target or each.subject for each in outlets)
        raise self._failed("choose", f"gives {reprlib.repr(choice)}, which is not one of {names}")

    def _items(self, context: Mapping[str, Any]) -> Sequence[Any]:
        items = self._value("for_each", context, ())
        if not isinstance(items, list | tuple):
            raise self._failed("for_each", f"gives {type(items).__name__}, not a list")
        if len(items) > MOST:
            raise self._failed("for_each", f"gives {len(items):,} items; the most are {MOST}")
        return items

    def _holds(self, context: Mapping[str, Any]) -> bool:
        return bool(self._value("when", context, True))

    def _value(self, field: str, context: Mapping[str, Any], default: Any) -> Any:
        text = getattr(self._rule, field)
        if text is None:
            return default
        try:
            return self._spec.expressions[text].evaluate(context)
        except PromptError as error:
            raise self._failed(field, str(error)) from error

    def _failed(self, field: str, why: str) -> TaskError:
        place = self._spec.problem("emit", "rules", self._number, field, text=why).place
        return _failed(f"{place}: {field}: {why}")


def _failed(why: str) -> TaskError:
    return TaskError(why, code="emit_failed")


def _of_the_model(emitted: Sequence[Emitted], number: int) -> Iterator[_Draft]:
    """The messages that the model asked for through its tool `emit`, as those of one more rule."""
    for place, each in enumerate(emitted):
        kind, _, topic = each.to.partition(".")
        rule = EmitRule.model_validate({kind: topic, "priority": each.priority})
        yield _Draft(
            rule=rule, number=number, outlet=Outlet(each.to), content=each.content, place=place
        )


def _share(task: AgentMessage, result: RunResult, tasks: int) -> Constraints:
    """What each of so many tasks may cost: an equal share of what the task has left."""
    most = task.payload.constraints.max_cost
    if most is None or not tasks:
        return Constraints()
    left = max(0.0, most - (result.completion.cost or 0.0))
    return Constraints(max_cost=left / tasks)


def _follow_up(
    draft: _Draft, task: AgentMessage, source: AgentIdentity, share: Constraints, *, seed: str
) -> FollowUp:
    identity = follow_up_id(seed, draft.number, draft.place)
    rule, topic = draft.rule, draft.outlet.subject.partition(".")[2]
    stated = {} if rule.priority is None else {"priority": rule.priority}
    if rule.task:
        payload = Payload(content=draft.content, constraints=share)
        routing = Routing(**stated, capabilities=rule.capabilities, exclusions=rule.exclusions)
        message = task.child(
            "task", payload, source=source, routing=routing, id=identity, target=draft.outlet.target
        )
    else:
        message = task.reply("event", draft.content, source=source, id=identity)
        routing = message.routing.model_copy(update=stated)
        message = message.model_copy(update={"routing": routing})
    return FollowUp(topic=topic, message=message)


def follow_up_id(seed: str, rule: int, place: int) -> str:
    """The id of a message that follows a result: the same for every run of the task. A result on
    record under it would be taken for the message's own, so nobody else may know the `seed`."""
    return digest(f"{seed} {rule} {place}")


def counts(emit: Emit, emitted: Iterable[str]) -> dict[str, int]:
    """How many messages of each topic an answer emitted; 0 for those that it might have emitted."""
    return {**dict.fromkeys(emit.subjects, 0), **Counter(emitted)}


def _siblings(drafts: Sequence[_Draft], task: AgentMessage, emit: Emit) -> Iterator[Sibling]:
    """The place of each message among all that the answer emits."""
    subjects = [draft.outlet.subject for draft in drafts]
    topics = counts(emit, subjects)
    for index, topic in enumerate(subjects):
        yield Sibling(of=task.id, index=index, count=len(drafts), topic=topic, topics=topics)


def _placed(follow_up: FollowUp, place: Sibling) -> FollowUp:
    """The message with its place in the fan-out."""
    message = follow_up.message
    siblings = (*message.context.siblings, place)[-DEEPEST:]
    context = message.context.model_copy(update={"siblings": siblings})
    return replace(follow_up, message=message.model_copy(update={"context": context}))


class Emitter:
    """Makes records of emitted messages, for the batch of the result."""

    def __init__(self, bus: Bus, subjects: Subjects, secret: Secret) -> None:
        self._bus = bus
        self._subjects = subjects
        self._secret = secret
        self._looked: dict[Destination, float] = {}

    async def records(
        self, follow_ups: Sequence[FollowUp], headers: Mapping[str, str]
    ) -> list[Record]:
        """The records, with `headers`. The routes that they need are announced.

        Raises:
            TaskError: a message cannot be encoded as JSON (`unencodable`).
            BusError: a route or a large content could not be stored.
        """
        found: list[Record] = []
        wanted: dict[Destination, Recipients] = {}
        for each in follow_ups:
            data = await fit(self._bus, each.message)
            found.append(self._record(each, data, headers, wanted))
        for recipients in wanted.values():
            if recipients.needs_route:
                await routes.announce(self._bus, self._subjects.env, recipients.requirement)
        await self._look_for_takers(wanted)
        return found

    def _record(
        self,
        each: FollowUp,
        data: bytes,
        headers: Mapping[str, str],
        wanted: dict[Destination, Recipients],
    ) -> Record:
        """The record of a follow-up. The recipients of a task are added to `wanted`."""
        message, named = each.message, Destination.parse(each.topic)
        if message.type == "event":
            subject = self._subjects.event(named.domain, named.specificity)
            return Record(subject=subject, data=data, headers=_traced(subject, message, headers))
        recipients = Recipients.of(message, named)
        to = recipients.destination
        wanted[to] = recipients
        subject = self._subjects.task(to.domain, to.specificity, message.routing.priority)
        headers = _traced(subject, message, headers)
        if to != named:
            headers = {**headers, **topic_headers(each.topic, to, data, self._secret)}
        return Record(subject=subject, data=data, headers=headers)

    async def _look_for_takers(self, wanted: Mapping[Destination, Recipients]) -> None:
        """Warns, now and then, of tasks that no agent online takes. They are stored, and wait."""
        now = time.monotonic()
        new = {to: each for to, each in wanted.items() if self._looked.get(to, 0.0) <= now}
        if not new:
            return
        online = await registry.online(self._bus, self._subjects.env)
        for to, recipients in new.items():
            self._looked[to] = now + _LOOK_AGAIN
            if not any(recipients.include(each.agent, each.capabilities) for each in online):
                log.warning("no agent online takes %s: the emitted task waits", recipients)


def _traced(subject: str, message: AgentMessage, headers: Mapping[str, str]) -> Mapping[str, str]:
    """The headers of a follow-up: those of a span of its own, where there are spans."""
    if active.tracer is None:
        return headers
    return active.tracer.created(subject, message.context.conversation_id, message)
