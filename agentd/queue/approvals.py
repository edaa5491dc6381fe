"""Approvals: a task is suspended with its request, decided by a person, and resumed once.

`event.approval.{taskId}` holds the requests of a task and the decisions on them, in order. No
process holds a suspended task: a schedule is stored before the request, and the server publishes
its copy of the task when the request expires. A decision publishes the copy immediately. Whichever
comes first ends the schedule, so the task is resumed once.

A process may end between the two. Then the task is delivered again and suspended again, and a copy
that is due meanwhile finds no request before it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agentd import crash_points
from agentd.errors import Conflict, Paused
from agentd.nats import jetstream, schedules
from agentd.nats.bus import Bus
from agentd.nats.objects import fit
from agentd.nats.schedules import ScheduleEntry, Timing
from agentd.nats.streams import LOG
from agentd.protocol.actor import Actor, named_by
from agentd.protocol.message import AgentIdentity, AgentMessage, Context, new
from agentd.protocol.subjects import Subjects
from agentd.queue.decisions import (
    REQUESTED,
    ApprovalRequest,
    Decision,
    Dialogue,
    read,
    require_meaning,
)
from agentd.queue.delivery import LIFE, RESUMES, SENT_AGAIN, Delivery


@dataclass(frozen=True)
class Verdicts:
    """What a resumed run knows: approvals were requested up to `turn`; `calls` are the calls of
    that turn with their decisions. None is a call that was not decided in time."""

    turn: int = 0
    calls: Mapping[int, Decision | None] = field(default_factory=dict[int, Decision | None])


async def verdicts(bus: Bus, subjects: Subjects, task: str, delivery: Delivery) -> Verdicts:
    """The decisions that this delivery of a task resumes with.

    Raises:
        Paused: the task is suspended; another delivery resumes it, or has resumed it.
        BusError: the log does not answer.
    """
    if delivery.is_first:
        return Verdicts()
    dialogue = await read(bus, subjects, task)
    asked = [each for each in dialogue.requests if each.life == delivery.life]
    if any(each.turn > delivery.resumes for each in asked):
        raise Paused(delivery.resumes)
    for request in asked:
        if request.turn == delivery.resumes:
            if delivery.sequence < request.sequence and delivery.stored_at < request.expires:
                raise Paused(delivery.resumes)  # a copy of an earlier try to suspend the task
            # A decision stored after the resuming delivery came too late: another replica that runs
            # the same delivery must see the same decisions.
            made = dialogue.verdicts(request, before=delivery.sequence)
            return Verdicts(request.turn, {i: made.get(i) for i in request.indexes})
    return Verdicts()  # the log was lost: the run starts over, and requests approval again


async def suspend(
    bus: Bus,
    subjects: Subjects,
    task: AgentMessage,
    delivery: Delivery,
    paused: Paused,
    *,
    source: AgentIdentity,
) -> None:
    """Stores the scheduled copy of the task, then the request.

    Not the other way round: nothing would resume a task that has a request but no copy.

    Raises:
        BusError: it could not be recorded.
    """
    subject = subjects.event("approval", task.id)
    expires = min(time.time() + paused.timeout, task.expires_at or float("inf"))
    content = _request(task, delivery, paused, agent=source.id, expires=expires)
    event = await fit(bus, task.reply("event", content, source=source))
    copy = _copy(subjects, task, delivery, turn=paused.turn, expires=expires)
    while True:
        # First: a schedule that another replica stores from here on makes ours a conflict.
        existing = await schedules.find(bus, copy.subject)
        after, _ = await jetstream.newest(bus, LOG, subject)
        dialogue = await read(bus, subjects, task.id)
        made = {(each.life, each.turn) for each in dialogue.requests}
        if (delivery.life, paused.turn) in made:
            return  # by another replica that was thought dead
        try:
            await schedules.replace(bus, copy, existing)
            crash_points.here("before-request")
            await jetstream.store(
                bus,
                subject,
                event,
                message_id=f"{task.id}.{secrets.token_hex(8)}",
                headers={"Nats-Expected-Last-Subject-Sequence": str(after)},
                patience=jetstream.HOLD,
            )
        except Conflict:
            continue
        return


def _request(
    task: AgentMessage, delivery: Delivery, paused: Paused, *, agent: str, expires: float
) -> dict[str, Any]:
    """The content of the event that asks for approval."""
    return {
        "event": REQUESTED,
        "task": task.id,
        "agent": agent,
        "life": delivery.life,
        "turn": paused.turn,
        "calls": list(paused.calls),
        "schemas": dict(paused.schemas),
        "expires": datetime.fromtimestamp(expires, UTC).isoformat(timespec="milliseconds"),
    }


def _copy(
    subjects: Subjects, task: AgentMessage, delivery: Delivery, *, turn: int, expires: float
) -> ScheduleEntry:
    """The task as it is delivered again. Its headers name the journal and the turn to resume at."""
    return ScheduleEntry(
        subject=subjects.schedule("approval", task.id),
        target=str(delivery.subject),
        data=delivery.data,
        timing=Timing.at(expires),
        headers={
            **delivery.headers_for(task.id),
            LIFE: str(delivery.life),
            RESUMES: str(turn),
            # Without a timestamp in the task, its age would count from the copy, and it would get
            # more time for having been suspended.
            SENT_AGAIN: str(task.sent_at),
        },
    )


async def waiting(bus: Bus, subjects: Subjects) -> list[ApprovalRequest]:
    """The requests that are neither decided nor expired, oldest first.

    Raises:
        BusError: the log does not answer.
    """
    found: list[ApprovalRequest] = []
    async for entry in schedules.pending(bus, subjects.schedule("approval", "*")):
        task = entry.subject.rpartition(".")[2]
        dialogue = await read(bus, subjects, task)
        request = _asked_by(entry, dialogue)
        if request and not dialogue.is_decided(request):
            found.append(request)
    return found


async def find(
    bus: Bus, subjects: Subjects, task: str, dialogue: Dialogue
) -> ApprovalRequest | None:
    """The request that suspends a task; None if the task is not suspended.

    Raises:
        BusError: the server does not answer.
    """
    entry = await schedules.find(bus, subjects.schedule("approval", task))
    return _asked_by(entry, dialogue) if entry else None


async def decide(
    bus: Bus,
    subjects: Subjects,
    request: ApprovalRequest,
    chosen: Mapping[str, Any],
    *,
    by: Actor,
) -> tuple[Dialogue, int]:
    """Stores a decision; returns what is on record then, and the sequence of the decision there.
    The first decision on a call counts.

    Args:
        chosen: `decision`, one of approve, deny, edit and answer; `calls` for the indexes of some
            of the calls; `arguments` for an edit, `answer` for an answer; and a `reason`.
        by: who decides.

    Raises:
        UsageError: the request has no such call, or not exactly one that can be meant.
        TaskError: the arguments do not fit the tool, or the answer is no choice (`invalid_input`).
        BusError: it was not stored.
    """
    await require_meaning(request, chosen)
    named = {"task": request.task, "turn": request.turn, **named_by(by)}
    content = {**chosen, **named}
    event = new(
        "event",
        content,
        source=AgentIdentity(id=by.name, type="user"),
        context=Context(conversation_id="system"),
    )
    subject = subjects.event("approval", request.task)
    stored = await jetstream.store(bus, subject, await fit(bus, event), message_id=event.id)
    return await read(bus, subjects, request.task), stored


async def resume(bus: Bus, subjects: Subjects, task: str) -> bool:
    """Resumes a task if all its requested approvals are decided; returns whether this call did.

    Raises:
        BusError: the server does not answer.
    """
    entry = await schedules.find(bus, subjects.schedule("approval", task))
    dialogue = await read(bus, subjects, task) if entry else Dialogue()
    request = entry and _asked_by(entry, dialogue)
    if entry is None or request is None or not dialogue.is_decided(request):
        return False
    try:
        await schedules.publish_now(bus, entry)
    except Conflict:
        return False  # another replica resumed it, or the request expired in this moment
    return True


def _asked_by(entry: ScheduleEntry, dialogue: Dialogue) -> ApprovalRequest | None:
    """The request that a scheduled copy of a task belongs to."""
    mark = (entry.headers.get(LIFE), entry.headers.get(RESUMES))
    matching = (each for each in dialogue.requests if (str(each.life), str(each.turn)) == mark)
    return next(matching, None)
