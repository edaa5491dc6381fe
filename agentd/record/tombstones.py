"""What says that a conversation was forgotten: it names messages that were erased from the log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentd.nats.bus import Bus, Msg, status_of
from agentd.nats.streams import LOG
from agentd.protocol import erasure
from agentd.protocol.server_subjects import direct_get
from agentd.protocol.subjects import digest
from agentd.record import queries
from agentd.record.index.index import Index
from agentd.record.values import mapping, object_in

FORGOTTEN = "conversation_forgotten"


@dataclass(frozen=True)
class Tombstone:
    """That messages of a conversation were erased, and when and by whom the last ones."""

    at: float
    by: Any
    messages: int


async def tombstone(bus: Bus, env: str, index: Index, conversation: str) -> Tombstone | None:
    """What says that a conversation was forgotten; None if nothing does.

    Raises:
        StartError: the index cannot be written.
        BusError: the server does not answer.
    """
    mark = digest(conversation)
    where = queries.Filter(env=env, kind="event", text=mark)
    erased, last = set[tuple[int, int]](), None
    for row in await index.ask(lambda db: queries.messages(db, where)):
        msg = await message_at(bus, row.sequence) if row.name == FORGOTTEN else None
        content = content_of(msg) if msg else {}
        if content.get("conversation") == mark:
            erased.update(erasure.named(content))
            count = sum(last - first + 1 for first, last in erased)
            last = Tombstone(row.time, content.get("by"), count)
    return last


async def message_at(bus: Bus, sequence: int) -> Msg | None:
    """The message of the log with this sequence; None if it is gone.

    Raises:
        BusError: the server does not answer.
    """
    msg = await bus.request(direct_get(LOG), json.dumps({"seq": sequence}).encode())
    return None if status_of(msg) else msg


def sequence_of(msg: Msg) -> int:
    """The sequence of a stored message."""
    return int((msg.headers or {})["Nats-Sequence"])


def content_of(msg: Msg) -> Mapping[str, Any]:
    """The content of a message, if it is an object."""
    return mapping(mapping(object_in(msg.data).get("payload")).get("content"))
