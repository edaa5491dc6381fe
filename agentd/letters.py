"""Dead letters: what could not be done, kept with its original bytes and the reason."""

from __future__ import annotations

from agentd import jetstream
from agentd.bus import Bus
from agentd.delivery import Delivery
from agentd.errors import Conflict, DecodeError, TaskError
from agentd.message import AgentIdentity, AgentMessage, encode, new
from agentd.outcome import Outcome, result_subject
from agentd.subjects import Subjects

# A header holds one line; the whole text of an error is in the result.
_LONGEST_HEADER = 1_000


async def bury(
    bus: Bus,
    subjects: Subjects,
    delivery: Delivery,
    error: DecodeError,
    source: AgentIdentity,
) -> None:
    """Keeps a malformed message, and tells its sender where its id could be read.

    The letter's body is the original bytes; `Agentd-Reason`, `-Error`, `-Subject` and `-Attempts`
    are in its headers, beside the sender's own.

    Raises:
        BusError: it could not be stored; the delivery must not be removed.
    """
    await jetstream.store(
        bus,
        subjects.dlq(delivery.subject.domain, delivery.subject.specificity),
        delivery.data,
        message_id=f"dlq.{delivery.sequence}.{delivery.default_id}",
        headers={
            **delivery.own_headers,
            "Agentd-Reason": "malformed",
            "Agentd-Error": " ".join(str(error).split())[:_LONGEST_HEADER],
            "Agentd-Subject": str(delivery.subject),
            "Agentd-Attempts": str(delivery.attempt),
        },
    )
    if error.message_id is not None:
        await _tell(bus, subjects, delivery, error, source)


async def _tell(
    bus: Bus, subjects: Subjects, delivery: Delivery, error: DecodeError, source: AgentIdentity
) -> None:
    """An error result for a message of which nothing but the id is known."""
    task: AgentMessage = new("task", None, source=source, id=error.message_id)
    failed = Outcome(
        revision="",
        model="",
        latency=0.0,
        error=TaskError(str(error), code="malformed"),
    )
    result = task.reply("result", failed.content(), source=source)
    subject = result_subject(subjects, delivery.subject, task.id)
    try:
        await jetstream.store(
            bus, subject, encode(result), message_id=f"{task.id}.malformed", create=True
        )
    except Conflict:
        return  # told already, before a crash
