"""Tasks that wait for a person: laid by with their request, decided, and gone on with once.

`event.approval.{taskId}` holds the requests of a task and the decisions on them, in order. While a
task waits nobody holds it: beside its request lies a schedule, a copy of the task that the server
publishes when the request expires. A decision has it published at once instead. Whichever comes
first ends the schedule, so that the task goes on once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agentd.errors import Conflict, Paused
from agentd.nats import jetstream, schedules
from agentd.nats.bus import Bus
from agentd.nats.jetstream import Record
from agentd.nats.objects import fit
from agentd.nats.schedules import ScheduleEntry, Timing
from agentd.nats.streams import LOG
from agentd.protocol.message import AgentIdentity, AgentMessage, Context, encode, new
from agentd.protocol.subjects import Subjects
from agentd.queue.decisions import REQUESTED, ApprovalRequest, Decision, Dialogue, read
from agentd.queue.delivery import LIFE, RESUMES, SENT_AGAIN, Delivery


@dataclass(frozen=True)
class Verdicts:
    """What a run that goes on knows: up to `turn` it has asked; `calls` are those that were asked
    about in that turn, with the decision, None for one that nobody made in time."""

    turn: int = 0
    calls: Mapping[int, Decision | None] = field(default_factory=dict[int, Decision | None])


async def verdicts(bus: Bus, subjects: Subjects, task: str, delivery: Delivery) -> Verdicts:
    """What a delivery of a task may go on with.

    Raises:
        Paused: another delivery of it does, or will, when the decision is there.
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
            # What was decided after the task went on came too late, however late it is run.
            made = dialogue.verdicts(request, before=delivery.sequence)
            return Verdicts(request.turn, {i: made.get(i) for i in request.indexes})
    return Verdicts()  # the log was lost: the run begins anew, and asks anew


async def suspend(
    bus: Bus,
    subjects: Subjects,
    task: AgentMessage,
    delivery: Delivery,
    paused: Paused,
    *,
    source: AgentIdentity,
) -> None:
    """Puts on record, together, the request and the copy of the task that goes on with it.

    Raises:
        BusError: it could not be recorded.
    """
    subject = subjects.event("approval", task.id)
    expires = min(time.time() + paused.timeout, task.expires_at or float("inf"))
    content = {
        "event": REQUESTED,
        "task": task.id,
        "agent": source.id,
        "life": delivery.life,
        "turn": paused.turn,
        "calls": list(paused.calls),
        "expires": datetime.fromtimestamp(expires, UTC).isoformat(timespec="milliseconds"),
    }
    event = await fit(bus, task.reply("event", content, source=source))
    mark = f"{task.id}.{delivery.life}.{paused.turn}"
    copy = _copy(subjects, task, delivery, turn=paused.turn, expires=expires)
    while True:
        after, _ = await jetstream.newest(bus, LOG, subject)
        dialogue = await read(bus, subjects, task.id)
        made = {(each.life, each.turn) for each in dialogue.requests}
        if (delivery.life, paused.turn) in made:
            return  # by another replica, which was thought dead
        request = Record(
            subject=subject,
            data=event,
            message_id=f"{mark}.requested",
            headers={"Nats-Expected-Last-Subject-Sequence": str(after)},
        )
        try:
            await jetstream.store_all(bus, [request, copy.record(f"{mark}.copy")])
        except Conflict:
            continue
        return


def _copy(
    subjects: Subjects, task: AgentMessage, delivery: Delivery, *, turn: int, expires: float
) -> ScheduleEntry:
    """The task as it is delivered again, with the journal of the run that it goes on with."""
    return ScheduleEntry(
        subject=subjects.schedule("approval", task.id),
        target=str(delivery.subject),
        data=delivery.data,
        timing=Timing.at(expires),
        headers={
            **delivery.headers_for(task.id),
            LIFE: str(delivery.life),
            RESUMES: str(turn),
            # A task whose sender did not say when it was sent is not newer for having waited.
            SENT_AGAIN: str(task.sent_at),
        },
    )


async def waiting(bus: Bus, subjects: Subjects) -> list[ApprovalRequest]:
    """The requests that are not decided and not expired, oldest first.

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


async def decide(
    bus: Bus,
    subjects: Subjects,
    request: ApprovalRequest,
    *,
    approve: bool,
    calls: Sequence[int] | None = None,
    by: str = "",
    reason: str = "",
) -> Dialogue:
    """Puts a decision on record; returns what is on record then: an earlier one counts.

    Raises:
        BusError: it was not stored.
    """
    content: dict[str, Any] = {
        "decision": "approve" if approve else "deny",
        "task": request.task,
        "turn": request.turn,
        **({"calls": list(calls)} if calls is not None else {}),
        **({"by": by} if by else {}),
        **({"reason": reason} if reason else {}),
    }
    event = new(
        "event",
        content,
        source=AgentIdentity(id=by or "agentd-approvals", type="user"),
        context=Context(conversation_id="system"),
    )
    subject = subjects.event("approval", request.task)
    await jetstream.store(bus, subject, encode(event), message_id=event.id)
    return await read(bus, subjects, request.task)


async def resume(bus: Bus, subjects: Subjects, task: str) -> bool:
    """Has a task delivered again if all that it waits for is decided; whether this did it.

    Raises:
        BusError: the server does not answer.
    """
    entry = await schedules.find(bus, subjects.schedule("approval", task))
    dialogue = await read(bus, subjects, task) if entry else Dialogue()
    request = entry and _asked_by(entry, dialogue)
    if entry is None or request is None or not dialogue.is_decided(request):
        return False
    try:
        await jetstream.store(
            bus,
            entry.target,
            entry.data,
            message_id=f"{task}.{request.life}.{request.turn}.decided",
            headers={**entry.headers, **entry.ending},
        )
    except Conflict:
        return False  # another replica did, or it expired in this moment
    return True


def _asked_by(entry: ScheduleEntry, dialogue: Dialogue) -> ApprovalRequest | None:
    """The request that a copy of a task was laid by with."""
    mark = (entry.headers.get(LIFE), entry.headers.get(RESUMES))
    matching = (each for each in dialogue.requests if (str(each.life), str(each.turn)) == mark)
    return next(matching, None)
