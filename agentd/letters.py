"""Dead letters: what could not be done, kept with its original bytes and the reason."""

from __future__ import annotations

from agentd.delivery import Delivery
from agentd.jetstream import Record
from agentd.subjects import Subjects

REASON, ERROR, SUBJECT, ATTEMPTS = (
    "Agentd-Reason",
    "Agentd-Error",
    "Agentd-Subject",
    "Agentd-Attempts",
)

# A header holds one line; the whole text of an error is in the result.
_LONGEST_HEADER = 1_000


def letter(
    subjects: Subjects, delivery: Delivery, *, reason: str, error: Exception, attempts: int
) -> Record:
    """The dead letter of a task, to be stored beside its error result.

    Its body is the original bytes. `Agentd-Reason` (one word), `-Error` (the last one), `-Subject`
    (where it was sent to) and `-Attempts` are in its headers, beside the sender's own.
    """
    return Record(
        subject=subjects.dlq(delivery.subject.domain, delivery.subject.specificity),
        data=delivery.data,
        message_id=f"dlq.{delivery.sequence}.{delivery.default_id}",
        headers={
            **delivery.own_headers,
            REASON: reason,
            ERROR: " ".join(str(error).split())[:_LONGEST_HEADER],
            SUBJECT: str(delivery.subject),
            ATTEMPTS: str(attempts),
        },
    )
