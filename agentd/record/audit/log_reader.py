"""Reads the log as it is stored: each message with its bytes, in batches.

agentd's other readers parse the headers of each message. Here only their bytes count, and a task
has several messages: this reader takes a quarter of the time.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from agentd.errors import BusError
from agentd.nats.bus import Bus, Raw
from agentd.nats.jetstream import REQUEST_TIMEOUT
from agentd.nats.streams import LOG
from agentd.protocol.server_subjects import direct_get
from agentd.protocol.subjects import Subjects

_BYTES = 4 * 1024**2  # that are read at once; one message may have more
_SLICE = 256  # messages that are parsed without a pause: two milliseconds
# The server appends its own headers to those of the sender, who may have sent any of them too.
_OWN = f"Nats-Stream: {LOG}\r\n".encode()
_appended = re.compile(
    _OWN + rb"Nats-Subject: ([^\r]*)\r\n(?:[^\r]*\r\n)*?Nats-Sequence: (\d+)\r\n"
    rb"(?:[^\r]*\r\n)*?Nats-Time-Stamp: ([^\r]*)\r\n(?:[^\r]*\r\n)*?Nats-Num-Pending: (\d+)\r\n"
).match
_NO_HEADERS = b"NATS/1.0\r\n"


class Entry(NamedTuple):
    """A message as it is stored. `at` is its time as the server writes it."""

    sequence: int
    at: bytes
    subject: bytes
    headers: bytes
    data: bytes


@dataclass(frozen=True)
class Chunk:
    """Messages in order, and how many come after them."""

    entries: list[Entry]
    pending: int


# The messages after a sequence.
Read = Callable[[int], Awaitable[Chunk]]


async def read(bus: Bus, env: str, after: int, *, most: int = 4096) -> Chunk:
    """The messages of an environment after a sequence.

    Raises:
        BusError: the server does not answer.
    """
    raw: list[tuple[bytes, bytes]] = []
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    heard = asyncio.Event()

    def take(headers: bytes, data: bytes) -> None:
        heard.set()
        if _OWN in headers:
            raw.append((headers, data))
        elif not ended.done():
            ended.set_result(None)  # a status: the end of the batch, or no message at all

    def fail(error: BusError) -> None:
        if not ended.done():
            ended.set_exception(error)

    inbox, request = bus.new_inbox(), direct_get(LOG)
    subscription = await bus.listen(inbox, Raw(take))
    pattern = Subjects(env).everything
    wanted = {"batch": most, "max_bytes": _BYTES, "seq": after + 1, "next_by_subj": pattern}
    try:
        with bus.failing(request, fail):
            await bus.publish(request, json.dumps(wanted).encode(), reply=inbox)
            await _until(ended, heard)
    finally:
        await subscription.close()
    return await _parsed(raw)


async def _until(ended: asyncio.Future[None], heard: asyncio.Event) -> None:
    """Waits for the end, as long as messages come."""
    while True:
        heard.clear()
        done, _ = await asyncio.wait([ended], timeout=REQUEST_TIMEOUT)
        if done:
            return ended.result()
        if not heard.is_set():
            ended.cancel()
            raise BusError(f"{LOG}: no answer within {REQUEST_TIMEOUT:g} s")


async def _parsed(raw: list[tuple[bytes, bytes]]) -> Chunk:
    entries: list[Entry] = []
    pending = 0
    for number, (headers, data) in enumerate(raw, 1):
        end = headers.rindex(_OWN)
        stored = headers[:end] if end > len(_NO_HEADERS) else b""
        found = _appended(headers, end)
        if found is None:
            raise BusError(f"{LOG}: {headers[end:][:200]!r} is not what nats-server appends")
        subject, sequence, at, left = found.groups()
        entries.append(Entry(int(sequence), at, subject, stored, data))
        pending = int(left)
        if not number % _SLICE:
            await asyncio.sleep(0)
    return Chunk(entries, pending)
