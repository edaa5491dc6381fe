"""Accepts a task for a caller, once if it may be sent again under its id.

Then the first entry of the task's journal says that it was accepted. It must be the first message
on its subject, so the id is one task for ever: the server itself forgets the ids of messages after
two minutes. The task follows, under a message id from that entry. Who finds an entry without its
task, because a process died between the two, stores the task. (An atomic batch of both would cost
the server as much as fifty messages.)

A task with a new id, which nobody can send again, is only stored. CHUNKS notes for ten minutes
where each task is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from agentd.errors import BusError, Conflict, SubjectError, TaskError, Unheard
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.jetstream import Record
from agentd.nats.objects import fit
from agentd.nats.records import skipping
from agentd.nats.streams import CHUNKS, LOG
from agentd.protocol.destination import Destination
from agentd.protocol.message import (
    AgentIdentity,
    AgentMessage,
    Context,
    Links,
    decode,
    encode,
    new,
    new_id,
)
from agentd.protocol.subjects import Subject, Subjects, digest
from agentd.routing.eligibility import Directory
from agentd.telemetry import active

ACCEPTED = "accepted"

_PATIENCE = 30.0  # seconds to store a task


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """A task that was accepted.

    Attributes:
        by: the caller.
        to: where the caller sent it: `analysis.general`, `@writer`.
        subject: where exactly it is.
        digest: of all that was asked; empty for a task that cannot be asked for again.
        mark: makes the message id of the task, which nobody can guess.
        repeated: it was accepted before, and asked again.
        sequence: in LOG: of the task, or of the entry that says this.
    """

    task: str
    by: str
    to: str
    subject: Subject
    digest: str
    conversation: str
    mark: str
    repeated: bool = False
    sequence: int = 0


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How a task is accepted.

    Attributes:
        by: the caller.
        once: a task with this id is stored once. Without it the id must be a new one, which nobody
            can have used before.
        alike: with `once`, a task that is sent again must be the same in all that it asks for.
        before: what is stored before the task is, perhaps twice if a process dies meanwhile.
    """

    by: str
    once: bool = True
    alike: bool = True
    before: Sequence[Record] = ()


def task_id(caller: str, key: str) -> str:
    """The id of the task that a caller sends under a key of its own choice."""
    return digest(json.dumps([caller, key]))


async def accept(
    bus: Bus,
    subjects: Subjects,
    to: Destination,
    message: AgentMessage,
    *,
    by: str,
    directory: Directory | None = None,
    once: bool = True,
) -> Acceptance:
    """Stores a task, unless a task with its id was accepted before; see `Terms` for `once`.

    Raises:
        TaskError, BusError: as `accept_on`.
    """
    return await accept_on(Terms(by=by, once=once), bus, subjects, to, message, directory)


async def accept_on(
    terms: Terms,
    bus: Bus,
    subjects: Subjects,
    to: Destination,
    message: AgentMessage,
    directory: Directory | None = None,
) -> Acceptance:
    """Stores a task on these terms.

    Raises:
        TaskError: no agent online takes it (`no_taker`, `invalid_input`), too many tasks wait there
            already (`overloaded`), or its id was used for something else (`idempotency_conflict`).
        BusError: it was not stored, or that is not known: it may be sent again under its id.
    """
    by, once = terms.by, terms.once
    asked = _digest(to, message) if once and terms.alike else ""
    try:
        exact = await (directory or Directory(bus, subjects)).address(to, message)
        acceptance = Acceptance(
            task=message.id,
            by=by,
            to=str(to),
            subject=Subject.nearest(
                subjects.task(exact.domain, exact.specificity, message.routing.priority)
            ),
            digest=asked,
            conversation=message.context.conversation_id,
            mark=new_id(),
        )
        if once:
            acceptance = await _first(bus, subjects, acceptance, message)
    except (Conflict, TaskError):
        # What was accepted stays so, whoever is online now.
        earlier = await find(bus, subjects, message.id) if once else None
        if earlier is None:
            raise
        _require_same(earlier, by, asked)
        if await sequence_of(bus, subjects, earlier):
            return earlier
        acceptance = earlier
    for number, each in enumerate(terms.before):
        message_id = f"{acceptance.mark}-{number}"
        await jetstream.store(
            bus, each.subject, each.data, message_id=message_id, headers=each.headers
        )
    return await _store(bus, subjects, acceptance, message)


def _require_same(earlier: Acceptance, by: str, asked: str) -> None:
    if (earlier.digest, earlier.by) != (asked, by):
        text = f"task {earlier.task} was accepted before, with another content or from another"
        raise TaskError(
            f"{text} caller; send this one under another key", code="idempotency_conflict"
        ) from None


async def find(bus: Bus, subjects: Subjects, task: str) -> Acceptance | None:
    """How a task was accepted, if it was.

    Raises:
        BusError: the log does not answer.
    """
    async for msg in jetstream.stored(bus, LOG, subjects.event("run", task)):
        with skipping(LOG, msg):
            sequence = int((msg.headers or {})["Nats-Sequence"])
            content = decode(msg.data, type="event").payload.content
            if found := acceptance_in(content, task, sequence):
                return found
    return None


def acceptance_in(content: Any, task: str, sequence: int) -> Acceptance | None:
    """The acceptance in an entry of the journal, or in a note; None if it is another entry.

    Any client may write entries.
    """
    match content:
        case {
            "event": "accepted",
            "task": str(of),
            "by": str(by),
            "to": str(to),
            "subject": str(subject),
            "digest": str(asked),
            "conversation": str(conversation),
            "mark": str(mark),
        } if of == task and (place := _task_subject(subject)):
            return Acceptance(
                task=task,
                by=by,
                to=to,
                subject=place,
                digest=asked,
                conversation=conversation,
                mark=mark,
                repeated=True,
                sequence=sequence,
            )
        case _:
            return None


def _task_subject(subject: str) -> Subject | None:
    try:
        found = Subject.parse(subject)
    except SubjectError:
        return None
    return found if found.type == "task" else None


async def noted(bus: Bus, subjects: Subjects, task: str) -> Acceptance | None:
    """How a task was accepted, and where it is, if that was in the last ten minutes.

    Raises:
        BusError: the server does not answer.
    """
    with contextlib.suppress(Unheard):  # no CHUNKS
        if note := await jetstream.last(bus, CHUNKS, subjects.accepted(task)):
            with skipping(CHUNKS, note):
                content = decode(note.data, type="stream").payload.content
                return acceptance_in(content, task, content["sequence"])
    return None


async def sequence_of(bus: Bus, subjects: Subjects, acceptance: Acceptance) -> int:
    """The sequence in LOG of a task that was accepted once; 0 if it is not stored.

    Raises:
        BusError: the server does not answer.
    """
    if not acceptance.mark:
        return acceptance.sequence  # `remember` has written the entry: it is long stored
    note = await noted(bus, subjects, acceptance.task)
    if note and note.mark == acceptance.mark:
        return note.sequence
    wire_id, since = f"{acceptance.mark}.{subjects.env}", None
    async for msg in jetstream.stored(bus, LOG, str(acceptance.subject), start=acceptance.sequence):
        headers = msg.headers or {}
        if headers.get("Nats-Msg-Id") == wire_id:
            return int(headers["Nats-Sequence"])
        stored_at = datetime.fromisoformat(headers["Nats-Time-Stamp"])
        since = since or stored_at
        if (stored_at - since).total_seconds() > 2 * _PATIENCE:
            return 0
    return 0


async def remember(
    bus: Bus, subjects: Subjects, acceptance: Acceptance, message: AgentMessage
) -> None:
    """Stores the entry of a task again that was accepted, so that the log keeps it for longer.

    Raises:
        BusError: it was not stored.
    """
    # Without its mark: the entry no longer says where in the log the task is.
    entry = _entry(replace(acceptance, mark=""), message)
    subject = subjects.event("run", acceptance.task)
    await jetstream.store(bus, subject, entry, message_id=new_id())


async def _first(
    bus: Bus, subjects: Subjects, acceptance: Acceptance, message: AgentMessage
) -> Acceptance:
    """Stores the entry of a task that was not accepted yet.

    Raises:
        Conflict: it was.
    """
    sequence = await jetstream.store(
        bus,
        subjects.event("run", message.id),
        _entry(acceptance, message),
        message_id=new_id(),
        after=0,
        patience=_PATIENCE,
    )
    return replace(acceptance, sequence=sequence)


async def _store(
    bus: Bus, subjects: Subjects, acceptance: Acceptance, message: AgentMessage
) -> Acceptance:
    """Stores a task, and notes where it is."""
    data, subject = await fit(bus, message), str(acceptance.subject)
    with active.sending(subject, message) as headers:
        sequence = await jetstream.store(
            bus, subject, data, message_id=acceptance.mark, headers=headers, patience=_PATIENCE
        )
    note = _content(acceptance) | {"sequence": sequence}
    with contextlib.suppress(BusError):  # the task is stored
        await bus.publish(
            subjects.accepted(message.id), json.dumps({"payload": {"content": note}}).encode()
        )
    return replace(acceptance, sequence=sequence)


def _content(acceptance: Acceptance) -> dict[str, Any]:
    return {
        "event": ACCEPTED,
        "task": acceptance.task,
        "by": acceptance.by,
        "to": acceptance.to,
        "subject": str(acceptance.subject),
        "digest": acceptance.digest,
        "conversation": acceptance.conversation,
        "mark": acceptance.mark,
    }


def _entry(acceptance: Acceptance, message: AgentMessage) -> bytes:
    entry = new(
        "event",
        _content(acceptance),
        source=AgentIdentity(id=acceptance.by, type="user"),
        context=Context(conversation_id=acceptance.conversation, parent_message_id=message.id),
        **Links(correlation_id=message.correlation_id or message.id),
    )
    return encode(entry)


def _digest(to: Destination, message: AgentMessage) -> str:
    """Of all that a caller asks for, without what is new each time it asks."""
    fields = message.model_dump(
        mode="json", exclude_unset=True, exclude={"id", "timestamp", "source", "reply_to"}
    )
    asked = json.dumps([str(to), fields], sort_keys=True, default=str)
    return hashlib.sha256(asked.encode(errors="surrogatepass")).hexdigest()
