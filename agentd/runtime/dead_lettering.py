"""Dead-letters tasks that no agent runs: a dead letter, an error result, removal from WORK.

That is for tasks that were cancelled while they waited, for those that the server has given up, and
for those whose domain no agent can have.
"""

from __future__ import annotations

import logging
from datetime import datetime

from agentd.agent.outcome import Outcome, result_subject, store
from agentd.errors import Conflict, DecodeError, Undeliverable
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.objects import require_room
from agentd.nats.records import skipping
from agentd.nats.streams import WORK
from agentd.protocol.message import AgentIdentity, AgentMessage, new, short_id
from agentd.protocol.subjects import MALFORMED, Subjects, is_token
from agentd.queue import dead_letters
from agentd.queue.delivery import Parcel, parcel
from agentd.queue.topic import read_topic

log = logging.getLogger(__name__)

_RUNTIME = AgentIdentity(id="agentd", type="runtime")


async def dead_letter(
    bus: Bus, subjects: Subjects, parcel: Parcel, error: Undeliverable, *, sequence: int
) -> None:
    """Dead-letters the task with this sequence in WORK, 0 if it is not there; `error` has the
    reason.

    Raises:
        BusError: it could not be recorded; the task is still in WORK.
    """
    task = task_of(parcel)
    try:
        require_room(bus, task, len(parcel.data))
    except DecodeError:
        task = _stand_in(parcel)
    topic = await read_topic(bus, parcel)
    letter = await dead_letters.dead_letter(
        bus,
        subjects,
        parcel,
        reason=error.code,
        error=error,
        attempts=parcel.attempt,
        task_id=task.id,
    )
    try:
        await store(
            bus,
            result_subject(subjects, topic, task.id),
            Outcome(revision="", model="", latency=0.0, error=error),
            task=task,
            source=_RUNTIME,
            headers={},
            also=[letter],
        )
    except Conflict:
        log.info("%s has a result already: no dead letter", short_id(task.id))
    # Last: after a crash before this the task is delivered, and settled because it has a result.
    if sequence:
        await jetstream.delete(bus, WORK, sequence)


async def refuse_foreign(bus: Bus, subjects: Subjects, work: str) -> None:
    """Dead-letters the tasks on a subject of WORK whose domain no agent can have.

    Raises:
        BusError: the server does not answer.
    """
    # The server reports a byte that is not UTF-8 as another one, so the exact subject is not known.
    tokens = [each if is_token(each) else "*" for each in work.split(".")]
    async for msg in jetstream.stored(bus, WORK, ".".join(tokens)):
        with skipping(WORK, msg):
            waiting, sequence = waiting_in(msg)
            if waiting.subject.domain == MALFORMED and waiting.foreign:
                problem = f"{waiting.foreign} is no subject of agentd: no agent can have its domain"
                error = Undeliverable(problem, code="malformed")
                await dead_letter(bus, subjects, waiting, error, sequence=sequence)


def waiting_in(msg: Msg) -> tuple[Parcel, int]:
    """The task in a message that was read from WORK, and its sequence there.

    Raises:
        SubjectError: it is not a task.
    """
    headers = dict(msg.headers or {})
    stored_at = datetime.fromisoformat(headers["Nats-Time-Stamp"]).timestamp()
    waiting = parcel(msg.data, headers, attempt=0, stored_at=stored_at)
    return waiting, int(headers["Nats-Sequence"])


def task_of(parcel: Parcel) -> AgentMessage:
    """The message of a parcel. Bytes that are not a valid message give an empty task with their id,
    so that their sender receives a result."""
    try:
        return parcel.task()
    except DecodeError:
        return _stand_in(parcel)


def _stand_in(parcel: Parcel) -> AgentMessage:
    return new("task", None, source=_RUNTIME, id=parcel.task_id)
