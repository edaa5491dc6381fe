"""What a stream holds: how much on which subjects, and the first message on some of them."""

from __future__ import annotations

import json

from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg, status_of
from agentd.protocol.server_subjects import direct_get


async def counts(bus: Bus, stream: str, subject: str) -> dict[str, int]:
    """How many messages a stream has on each of its subjects that match `subject`.

    Raises:
        ApiError: the stream does not exist.
        BusError: the server does not answer.
    """
    found: dict[str, int] = {}
    while True:
        # The server lists so many subjects at a time.
        request = {"subjects_filter": subject, "offset": len(found)}
        info = await jetstream.api(bus, f"STREAM.INFO.{stream}", request)
        some = info["state"].get("subjects") or {}
        found |= some
        if not some or len(found) >= int(info.get("total", 0)):
            return found


async def count(bus: Bus, stream: str, subject: str) -> int:
    """How many messages a stream has on the subjects that match `subject`.

    Raises:
        ApiError, BusError: as `counts`.
    """
    return sum((await counts(bus, stream, subject)).values())


async def first(bus: Bus, stream: str, subject: str, *, start: int = 1) -> Msg | None:
    """The first message on `subject` (wildcards allowed) from sequence `start` on.

    Its headers have `Nats-Subject`, `Nats-Sequence` and `Nats-Time-Stamp`.

    Raises:
        BusError: the server does not answer.
    """
    wanted = {"seq": start, "next_by_subj": subject}
    answer = await bus.request(direct_get(stream), json.dumps(wanted).encode())
    return None if status_of(answer) else answer
