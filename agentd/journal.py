"""What happened to a task before its outcome, on record as events of its own subject.

`event.run.{taskId}` holds one event for each attempt that failed or was handed back. The server
counts deliveries; the journal tells which of them were attempts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agentd import jetstream
from agentd.bus import Bus
from agentd.delivery import Delivery
from agentd.message import AgentIdentity, AgentMessage, encode
from agentd.streams import LOG
from agentd.subjects import Subjects

FAILED = "attempt_failed"
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


async def attempt(bus: Bus, subjects: Subjects, task: AgentMessage, delivery: Delivery) -> int:
    """Which attempt at the task this delivery is, from 1.

    Every delivery counts but those that were handed back before an outcome was in sight (a drain,
    a lost connection): one that a crash ended is on no record, and must count.

    Raises:
        BusError: the log does not answer.
    """
    if delivery.attempt == 1:
        return 1
    handed_back = 0
    async for msg in jetstream.stored(bus, LOG, subjects.event("run", task.id)):
        content = _content(msg.data)
        if content.get("event") == HANDED_BACK and content.get("taskSequence") == delivery.sequence:
            handed_back += 1
    return max(1, delivery.attempt - handed_back)


def _content(data: bytes) -> Mapping[str, Any]:
    content = json.loads(data).get("payload", {}).get("content")
    return content if isinstance(content, dict) else {}
