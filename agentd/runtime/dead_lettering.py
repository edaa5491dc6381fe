"""Ends a task that nobody runs: a dead letter, an error result, and it is gone from WORK."""

from __future__ import annotations

import logging

from agentd.agent.outcome import Outcome, commit, result_subject
from agentd.errors import Conflict, DecodeError, Undeliverable
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.streams import WORK
from agentd.protocol.message import AgentIdentity, AgentMessage, decode, new
from agentd.protocol.subjects import Subjects
from agentd.queue import dead_letters
from agentd.queue.delivery import Parcel

log = logging.getLogger(__name__)

_RUNTIME = AgentIdentity(id="agentd", type="runtime")


async def bury(
    bus: Bus, subjects: Subjects, parcel: Parcel, error: Undeliverable, *, sequence: int
) -> None:
    """Buries the task that is number `sequence` of WORK, for the reason that `error` has.

    Raises:
        BusError: it could not be recorded; it is still in WORK.
    """
    task = task_of(parcel)
    letter = dead_letters.letter(
        subjects,
        parcel,
        reason=error.code,
        error=error,
        attempts=parcel.attempt,
        task_id=task.id,
    )
    try:
        await commit(
            bus,
            result_subject(subjects, parcel.topic, task.id),
            Outcome(revision="", model="", latency=0.0, error=error),
            task=task,
            source=_RUNTIME,
            headers={},
            also=[letter],
        )
    except Conflict:
        log.info("task %s was answered all the same", task.id)
    await jetstream.delete(bus, WORK, sequence)


def task_of(parcel: Parcel) -> AgentMessage:
    """The task that it is; of bytes that are none, an empty one with its id."""
    try:
        return decode(parcel.data, type="task", id=parcel.default_id, timestamp=parcel.stored_at)
    except DecodeError as error:
        return new("task", None, source=_RUNTIME, id=error.message_id or parcel.default_id)
