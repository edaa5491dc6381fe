"""Dead letters: tasks that could not be done, with their original bytes and the reason."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from agentd.errors import DecodeError, UsageError
from agentd.nats import jetstream, objects
from agentd.nats.bus import Bus, Msg, wire_size
from agentd.nats.jetstream import Record
from agentd.nats.records import skipping
from agentd.nats.streams import LOG
from agentd.protocol import erasure, strict_json
from agentd.protocol.actor import Actor, named_by
from agentd.protocol.message import AgentIdentity, Context, encode, new, new_id
from agentd.protocol.result import decode_result, is_success
from agentd.protocol.subjects import Subject, Subjects, token
from agentd.queue.delivery import SENT_AGAIN, TASK, Parcel
from agentd.queue.topic import read_topic

REASON, ERROR, SUBJECT, ATTEMPTS = (
    "Agentd-Reason",
    "Agentd-Error",
    "Agentd-Subject",
    "Agentd-Attempts",
)
# The digest of the original bytes, where they do not fit into the letter beside its headers.
OBJECT = "Agentd-Object"
_OURS = (REASON, ERROR, SUBJECT, ATTEMPTS, OBJECT)

# A header holds one line; the whole text of an error is in the result.
_LONGEST_HEADER = 1_000
_ROOM = 512  # bytes for the headers of a batch

_SHOWN = 10  # numbers in an error


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """One dead letter.

    Attributes:
        sequence: its sequence in the log; commands name a dead letter by it.
        at: when it was stored, RFC 3339.
        task_id: the id of its task.
        reason: one word, as in `errors.Undeliverable`: `malformed`, `expired`, `exhausted`, ….
        published_to: the subject that the task was published to.
        headers: the headers of the sender.
        data: the original bytes; see `original`.
        object: the digest of the original bytes, if they are in the object store.
    """

    sequence: int
    at: str
    task_id: str
    reason: str
    error: str
    attempts: int
    published_to: str
    headers: Mapping[str, str]
    data: bytes
    object: str = ""

    @property
    def subject(self) -> Subject:
        """The subject that the task was published to, or the nearest one of agentd."""
        return Subject.nearest(self.published_to)

    @property
    def life(self) -> int:
        """The sequence in the log under which it began, as a letter."""
        return self.sequence


async def dead_letter(
    bus: Bus,
    subjects: Subjects,
    parcel: Parcel,
    *,
    reason: str,
    error: Exception,
    attempts: int,
    task_id: str,
) -> Record:
    """The dead letter of a task, to be stored in one batch with its error result.

    Its body is the original bytes. Its headers are those of the sender, `Agentd-Reason` (one
    word), `-Error` (the last one), `-Subject` (where the task was sent), `-Attempts` and `-Task`.
    If the bytes leave no room for these headers, they are stored as an object, `-Object`.

    Raises:
        BusError: the bytes could not be stored.
    """
    data = parcel.data
    headers = {
        **parcel.headers_for(task_id),
        REASON: reason,
        ERROR: " ".join(str(error).split())[:_LONGEST_HEADER],
        SUBJECT: parcel.published_to,
        ATTEMPTS: str(attempts),
    }
    # The server adds headers of its own where it copies a message.
    if wire_size(data, headers) > bus.max_message - _ROOM:
        headers[OBJECT], data = await objects.put(bus, data), b""
    subject = subjects.dlq(parcel.subject.domain, parcel.subject.specificity)
    return Record(subject=subject, data=data, headers=headers)


async def listed(bus: Bus, subjects: Subjects) -> AsyncIterator[DeadLetter]:
    """Every dead letter of an environment, oldest first."""
    async for msg in jetstream.stored(bus, LOG, subjects.pattern("dlq.*.*")):
        found = None
        with skipping(LOG, msg):
            found = _parsed(msg)
        if found:
            yield found


async def find(bus: Bus, subjects: Subjects, name: str) -> DeadLetter:
    """The dead letter with this number, or of the task whose id begins with `name`.

    Raises:
        UsageError: there is none, or there are several.
    """
    found: DeadLetter | None = None
    numbers: list[int] = []
    async for each in listed(bus, subjects):
        if str(each.sequence) == name:
            return each
        if each.task_id.startswith(name):
            found = each
            numbers.append(each.sequence)
    if len(numbers) > 1:
        some = ", ".join(map(str, numbers[:_SHOWN]))
        raise UsageError(f"{len(numbers)} dead letters begin with {name}; their numbers are {some}")
    if found is None:
        raise UsageError(f"there is no dead letter {name} in {subjects.env!r}; see: agentd dlq")
    return found


async def newest(bus: Bus, subjects: Subjects) -> int:
    """The number of the newest dead letter; 0 if there is none.

    Raises:
        BusError: the server does not answer.
    """
    return (await jetstream.newest(bus, LOG, subjects.pattern("dlq.*.*")))[0]


async def original(bus: Bus, dead: DeadLetter) -> bytes:
    """The original bytes of a dead letter.

    Raises:
        TaskError: they are in the object store no longer.
        BusError: the server does not answer.
    """
    return await objects.fetch(bus, dead.object) if dead.object else dead.data


class Action(Protocol):
    """What a person does with a dead letter."""

    def __call__(
        self, bus: Bus, subjects: Subjects, dead: DeadLetter, *, by: Actor | None
    ) -> Awaitable[None]: ...


async def send_again(
    bus: Bus, subjects: Subjects, dead: DeadLetter, *, by: Actor | None = None
) -> None:
    """Sends the original bytes again, and removes the dead letter.

    The error result is deleted, because a result can be stored only once. The event that records
    the retry is stored before that, and has the result, the reason and the error: what is known of
    the first life of the task stays on record.

    Raises:
        UsageError: the task has been answered since, or the letter does not name a task's subject.
        TaskError: the original bytes are in the object store no longer.
    """
    # Any client may publish a letter that names another subject, and so have us publish there.
    ours = (dead.subject.type, dead.subject.env) == ("task", subjects.env)
    if not ours or dead.published_to != str(dead.subject):
        raise UsageError(f"dead letter {dead.sequence} is no task: {dead.published_to}; drop it")
    dead = replace(dead, data=await original(bus, dead))
    topic = await read_topic(bus, dead)
    result = subjects.result(topic.domain, topic.specificity, dead.task_id)
    last = await jetstream.last(bus, LOG, result)
    if last is not None and _is_success(last.data):
        raise UsageError(f"task {dead.task_id} has been answered; drop dead letter {dead.sequence}")
    erased = [await _kept(bus, last)] if last else []
    await _note(bus, subjects, dead, "retried", by, erased)
    for each in erased:
        await jetstream.delete(bus, LOG, each["sequence"])
    await jetstream.store(
        bus,
        str(dead.subject),
        dead.data,
        message_id=new_id(),
        headers={**dead.headers, TASK: dead.task_id, SENT_AGAIN: str(time.time())},
    )
    await jetstream.delete(bus, LOG, dead.sequence)


async def _kept(bus: Bus, result: Msg) -> dict[str, Any]:
    """A result as an event keeps it: its place, its time, its own headers and its message.

    Any client may have written it. What is too large for the event is in the object store.
    """
    headers = result.headers or {}
    kept: dict[str, Any] = {
        "sequence": int(headers["Nats-Sequence"]),
        "at": headers["Nats-Time-Stamp"],
        "subject": headers["Nats-Subject"],
        "headers": {name: text for name, text in headers.items() if not name.startswith("Nats-")},
    }
    try:
        if len(result.data) <= objects.room(bus) // 4:
            return {**kept, "message": strict_json.parse(result.data)}
    except DecodeError:
        pass
    return {**kept, "object": await objects.put(bus, result.data)}


def _is_success(result: bytes) -> bool:
    """Whether a result is an answer. What is no result at all does not count as one."""
    try:
        return is_success(decode_result(result))
    except DecodeError:
        return False


async def drop(bus: Bus, subjects: Subjects, dead: DeadLetter, *, by: Actor | None = None) -> None:
    """Removes a dead letter; an event records that it existed."""
    await _note(bus, subjects, dead, "dropped", by)
    await jetstream.delete(bus, LOG, dead.sequence)


async def _note(
    bus: Bus,
    subjects: Subjects,
    dead: DeadLetter,
    what: str,
    by: Actor | None,
    results: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Records what is about to happen with a dead letter, and the results that are erased."""
    content: dict[str, Any] = {
        "event": f"letter_{what}",
        "letter": dead.sequence,
        "task": dead.task_id,
        "subject": dead.published_to,
        "reason": dead.reason,
        "error": dead.error,
        **named_by(by),
        **({"results": list(results)} if results else {}),
        erasure.FIELD: erasure.ranges([*(each["sequence"] for each in results), dead.sequence]),
    }
    event = new(
        "event",
        content,
        source=AgentIdentity(id="agentd-dlq", type="runtime"),
        context=Context(conversation_id="system"),
    )
    # Whole in the log, never as an object: the audit reads there what was erased.
    await jetstream.store(bus, subjects.event("dlq", what), encode(event), message_id=event.id)


def _parsed(msg: Msg) -> DeadLetter:
    headers: Mapping[str, str] = msg.headers or {}
    if missing := {SUBJECT, REASON, TASK} - headers.keys():
        raise DecodeError(f"no dead letter of agentd: it has no header {min(missing)}")
    Subject.nearest(headers[SUBJECT])  # raises for any other subject than one of a task
    return DeadLetter(
        sequence=int(headers["Nats-Sequence"]),
        at=headers["Nats-Time-Stamp"],
        task_id=token(headers[TASK], TASK),
        reason=headers[REASON],
        error=headers.get(ERROR, ""),
        attempts=int(headers.get(ATTEMPTS, "0")),
        published_to=headers[SUBJECT],
        headers={k: v for k, v in headers.items() if k not in _OURS and not k.startswith("Nats-")},
        data=msg.data,
        object=headers.get(OBJECT, ""),
    )
