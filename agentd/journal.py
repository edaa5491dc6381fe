"""What happened to a task before its outcome, on record as events of its own subject.

`event.run.{taskId}` holds one event for each attempt that failed or was handed back. The server
counts deliveries; the journal tells which of them were attempts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentd import jetstream
from agentd.bus import Bus
from agentd.delivery import Delivery
from agentd.message import AgentIdentity, AgentMessage, encode
from agentd.streams import LOG
from agentd.subjects import Subjects

FAILED = "attempt_failed"
STARTED = "attempt_started"  # told of suspects only
HANDED_BACK = "handed_back"


async def note(
    bus: Bus,
    subjects: Subjects,
    task: AgentMessage,
    delivery: Delivery,
    kind: str,
    *,
    source: AgentIdentity,
    patience: float = 5.0,
    **details: Any,
) -> None:
    """Records that this delivery of the task ended as `kind`.

    Raises:
        BusError: it could not be recorded within `patience` seconds.
    """
    content = {
        "event": kind,
        "task": task.id,
        "taskSequence": delivery.sequence,
        "delivery": delivery.attempt,
        **details,
    }
    await jetstream.store(
        bus,
        subjects.event("run", task.id),
        encode(task.reply("event", content, source=source)),
        message_id=f"{task.id}.{kind}.{delivery.sequence}.{delivery.attempt}",
        patience=patience,
    )


@dataclass(frozen=True)
class Standing:
    """Where a task stands when it is delivered.

    Attributes:
        attempt: which attempt this is, from 1.
        suspect: a delivery before this one ended without a word, as when the task, or one that
            ran beside it, killed the process.
    """

    attempt: int = 1
    suspect: bool = False


async def standing(
    bus: Bus, subjects: Subjects, task: AgentMessage, delivery: Delivery
) -> Standing:
    """How far a task has come, by the server's count of deliveries and what is on record of them.

    A delivery counts if it failed, or was started as a suspect's; one that was handed back does not
    (a drain, a lost connection). All that ended without a word count as one: most of them only
    stood by while another task killed the process.

    Raises:
        BusError: the log does not answer.
    """
    if delivery.attempt == 1:
        return Standing()
    counted, excused = set[int](), set[int]()
    async for msg in jetstream.stored(bus, LOG, subjects.event("run", task.id)):
        content = _content(msg.data)
        if content.get("taskSequence") != delivery.sequence:
            continue  # of an earlier life, before somebody took it out of the dead letters
        kept = excused if content.get("event") == HANDED_BACK else counted
        kept.add(int(content["delivery"]))
    counted -= excused
    silent = len(set(range(1, delivery.attempt)) - counted - excused) > 0
    return Standing(1 + len(counted) + silent, suspect=silent)


def _content(data: bytes) -> Mapping[str, Any]:
    content = json.loads(data).get("payload", {}).get("content")
    return content if isinstance(content, dict) else {}
