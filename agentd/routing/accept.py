"""Accepts a task for a caller, once: the task, and who sent it what, are stored together.

The first entry of a task's journal says that it was accepted. It must be the first message on its
subject, and the task is stored in one batch with it: so an id is one task for ever. The server
itself forgets the ids of messages after two minutes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from agentd.errors import Conflict, SubjectError, TaskError
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.jetstream import Record
from agentd.nats.objects import fit
from agentd.nats.records import skipping
from agentd.nats.streams import LOG
from agentd.protocol.destination import Destination
from agentd.protocol.message import AgentIdentity, AgentMessage, Links, decode, encode, new, new_id
from agentd.protocol.subjects import Subject, Subjects, digest
from agentd.routing.eligibility import Directory

ACCEPTED = "accepted"

_PATIENCE = 30.0  # seconds to store a task


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """A task that was accepted.

    Attributes:
        by: the caller.
        to: where the caller sent it: `analysis.general`, `@writer`.
        subject: where exactly it is.
        digest: of all that was asked.
        repeated: it was accepted before, and asked again.
        sequence: of the task in LOG; 0 where that was not looked up.
    """

    task: str
    by: str
    to: str
    subject: Subject
    digest: str
    conversation: str
    repeated: bool = False
    sequence: int = 0


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
) -> Acceptance:
    """Stores a task, unless a task with its id was accepted before.

    Raises:
        TaskError: no agent online takes it (`no_taker`, `invalid_input`), too many tasks wait there
            already (`overloaded`), or its id was used for something else (`idempotency_conflict`).
        BusError: it was not stored, or that is not known: it may be sent again under its id.
    """
    directory = directory or Directory(bus, subjects)
    asked = _digest(to, message)
    try:
        exact = await directory.address(to, message)
        acceptance = Acceptance(
            task=message.id,
            by=by,
            to=str(to),
            subject=Subject.parse(
                subjects.task(exact.domain, exact.specificity, message.routing.priority)
            ),
            digest=asked,
            conversation=message.context.conversation_id,
        )
        await _store(bus, subjects, acceptance, message)
    except (Conflict, TaskError):
        # What was accepted stays so, whoever is online now.
        earlier = await find(bus, subjects, message.id)
        if earlier is None:
            raise
        if (earlier.digest, earlier.by) != (asked, by):
            text = f"task {message.id} was accepted before, with another content or from another"
            raise TaskError(
                f"{text} caller; send this one under another key", code="idempotency_conflict"
            ) from None
        return earlier
    return acceptance


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
    """The acceptance in an entry of the journal, with its sequence; None if it is another entry.

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
        } if of == task and (place := _task_subject(subject)):
            return Acceptance(
                task=task,
                by=by,
                to=to,
                subject=place,
                digest=asked,
                conversation=conversation,
                repeated=True,
                sequence=sequence + 1,  # the messages of a batch are stored side by side
            )
        case _:
            return None


def _task_subject(subject: str) -> Subject | None:
    try:
        found = Subject.parse(subject)
    except SubjectError:
        return None
    return found if found.type == "task" else None


async def _store(
    bus: Bus, subjects: Subjects, acceptance: Acceptance, message: AgentMessage
) -> None:
    content = {
        "event": ACCEPTED,
        "task": acceptance.task,
        "by": acceptance.by,
        "to": acceptance.to,
        "subject": str(acceptance.subject),
        "digest": acceptance.digest,
        "conversation": acceptance.conversation,
    }
    entry = new(
        "event",
        content,
        source=AgentIdentity(id=acceptance.by, type="user"),
        context=message.context.model_copy(update={"parent_message_id": message.id}),
        **Links(correlation_id=message.correlation_id or message.id),
    )
    records = [
        Record(
            subject=subjects.event("run", message.id),
            data=encode(entry),
            message_id=new_id(),
            after=0,
        ),
        Record(subject=str(acceptance.subject), data=await fit(bus, message)),
    ]
    await jetstream.store_all(bus, records, patience=_PATIENCE)


def _digest(to: Destination, message: AgentMessage) -> str:
    """Of all that a caller asks for, without what is new each time it asks."""
    fields = message.model_dump(
        mode="json", exclude_unset=True, exclude={"id", "timestamp", "source", "reply_to"}
    )
    asked = json.dumps([str(to), fields], sort_keys=True, default=str)
    return hashlib.sha256(asked.encode(errors="surrogatepass")).hexdigest()
