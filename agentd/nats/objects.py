"""Contents too large for a message: the sender stores them by digest, the reader fetches them.

The message then has `{"$object": {"digest": "sha256:…", "size": bytes}}` in place of its content
(in a result: in place of `data`). They are stored in `agentd_objects`, an object store of NATS
(ADR-20): an entry for each object, and the pieces of its data on a subject that the entry names.
nats-py's own `get` follows links, and reads without a limit; its second `put` of an object deletes
the pieces of the first, perhaps under a reader.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agentd.errors import BusError, DecodeError, NotStored, TaskError, TooLarge, Undeliverable
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.protocol.message import AgentMessage, encode, new_id
from agentd.protocol.server_subjects import object_entry, object_pieces
from agentd.protocol.shape import Shape
from agentd.protocol.strict_json import parse
from agentd.protocol.subjects import TOKEN

BUCKET = "agentd_objects"
STREAM = f"OBJ_{BUCKET}"
MARK = "$object"

# Bytes left free for our headers, and for those that the server adds when WORK sources the message;
# at most a quarter of what the server takes.
_HEADROOM = 16 * 1024
_PATIENCE = 30.0  # seconds to fetch one object; a piece of it may be missing
MOST = 32 * 1024**2  # bytes of a content
_PIECE = 128 * 1024  # bytes
_LONGEST = 100  # characters of a digest, which has 71


def room(bus: Bus) -> int:
    """How many bytes a message may have without its headers."""
    return bus.max_message - min(_HEADROOM, bus.max_message // 4)


def require_room(bus: Bus, message: AgentMessage, size: int) -> None:
    """Checks that what follows from a message of `size` bytes will fit: its result, the entries of
    its journal, what is emitted. They repeat its context, and only contents can be objects.

    Raises:
        DecodeError: it does not leave enough room.
    """
    most = room(bus) // 4
    if size > most and (repeated := message.repeated) > most:
        raise DecodeError(
            f"{repeated:,} bytes, with `metadata`, ids and names, are repeated in all that follows "
            f"from it; the limit on this server is {most:,}",
            path="context",
        )


async def fit(bus: Bus, message: AgentMessage) -> bytes:
    """`message` as bytes; a content that is too large for the server is stored as an object.

    Raises:
        BusError: the content could not be stored.
    """
    data = encode(message)
    if len(data) <= room(bus):
        return data
    return encode(_with(message, await _put(bus, _spillable(message))))


async def whole(bus: Bus, message: AgentMessage, *, most: int = MOST) -> AgentMessage:
    """`message` with its content, fetched if it was stored as an object.

    Raises:
        TaskError: the object has more than `most` bytes, where that is less than a content may
            have (`object_too_large`).
        Undeliverable: the object is no content: too large, or not the JSON of a message
            (`malformed`).
        TaskError: the object no longer exists, or does not match its digest (`object_missing`).
        BusError: the object store does not answer.
    """
    reference = _reference(_spillable(message))
    return message if reference is None else _with(message, await _get(bus, reference, most))


def _spillable(message: AgentMessage) -> Any:
    """The part of a message that may be large. In a result it is `data`, so that `success` and the
    costs can be read without fetching it."""
    content = message.payload.content
    return content["data"] if _is_result(message) else content


def _with(message: AgentMessage, part: Any) -> AgentMessage:
    content = {**message.payload.content, "data": part} if _is_result(message) else part
    payload = message.payload.model_copy(update={"content": content})
    return message.model_copy(update={"payload": payload})


def _is_result(message: AgentMessage) -> bool:
    content = message.payload.content
    return message.type == "result" and isinstance(content, dict) and "data" in content


def _reference(part: Any) -> Mapping[str, Any] | None:
    if not isinstance(part, dict) or part.keys() != {MARK}:
        return None
    reference = part[MARK]
    return reference if isinstance(reference, dict) and "digest" in reference else None


async def put(bus: Bus, data: bytes) -> str:
    """Stores `data`; returns its digest, with which `fetch` finds it.

    Raises:
        BusError: it could not be stored.
    """
    digest = digest_of(data)
    if not await _holds(bus, digest, data):
        await _store(bus, digest, data)
    return digest


async def fetch(bus: Bus, digest: str, *, most: int = MOST) -> bytes:
    """The data that `put` stored under this digest.

    Raises:
        TaskError: it no longer exists, does not match the digest, or is not complete
            (`object_missing`); it has more than `most` bytes (`object_too_large`).
        BusError: the object store does not answer.
    """
    try:
        async with asyncio.timeout(_PATIENCE):
            data = await _read(bus, digest, most)
    except NotStored:
        text = f"the content {digest} no longer exists"
        raise TaskError(text, code="object_missing") from None
    except TooLarge as error:
        text = f"the content {digest} has {error.size:,} bytes; the limit is {most:,}"
        raise TaskError(text, code="object_too_large") from None
    except TimeoutError:
        # Not the fault of the server, which has answered: this attempt counts.
        text = f"the content {digest} did not arrive within {_PATIENCE:g} s"
        raise TaskError(text, code="object_missing", retryable=True) from None
    # Anyone with access to the store can replace an object that messages refer to.
    if digest != digest_of(data):
        raise TaskError(f"the content {digest} does not match its digest", code="object_missing")
    return data


async def erase(bus: Bus, digest: str) -> bool:
    """Erases an object; returns whether there was one.

    Raises:
        BusError: the object store does not answer.
    """
    entry = await _entry(bus, digest)
    if entry is None:
        return False
    # An entry that somebody else has written may name the pieces of another object.
    if await _is_whole(bus, digest):
        pieces = {"filter": object_pieces(BUCKET, entry.nuid)}
        await jetstream.api(bus, f"STREAM.PURGE.{STREAM}", pieces)
    await jetstream.api(bus, f"STREAM.PURGE.{STREAM}", {"filter": object_entry(BUCKET, digest)})
    return True


async def _is_whole(bus: Bus, digest: str) -> bool:
    """Whether an object has the data of its digest."""
    try:
        await fetch(bus, digest)
    except TaskError:
        return False
    return True


async def _put(bus: Bus, part: Any) -> dict[str, Any]:
    data = json.dumps(part, ensure_ascii=False).encode()
    return {MARK: {"digest": await put(bus, data), "size": len(data)}}


async def _get(bus: Bus, reference: Mapping[str, Any], most: int) -> Any:
    digest = str(reference["digest"])[:_LONGEST]
    try:
        return parse(await fetch(bus, digest, most=most), most=MOST)
    except DecodeError as error:
        raise Undeliverable(f"the content {digest} is {error}", code="malformed") from None
    except TaskError as error:
        if error.code != "object_too_large" or most < MOST:
            raise
        raise Undeliverable(str(error), code="malformed") from None


def digest_of(data: bytes) -> str:
    """The name of an object with this data: `sha256:` and 64 hex digits."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True)
class _Entry:
    """What an object store says of an object. Any client of the server may write it."""

    nuid: str
    size: int
    deleted: bool = False
    options: Mapping[str, Any] | None = None

    @property
    def is_valid(self) -> bool:
        """Whether it names pieces in this object store."""
        is_link = "link" in (self.options or {})
        return not (self.deleted or is_link) and re.fullmatch(TOKEN, self.nuid) is not None


_ENTRY: Shape[_Entry] = Shape(_Entry, most=64 * 1024)


async def _entry(bus: Bus, name: str) -> _Entry | None:
    """The entry of an object; None if there is none that can be used."""
    _, data = await jetstream.newest(bus, STREAM, object_entry(BUCKET, name))
    with contextlib.suppress(DecodeError):
        entry = _ENTRY.parse(data)
        return entry if entry.is_valid else None
    return None


async def _holds(bus: Bus, name: str, data: bytes) -> bool:
    """Whether the object has exactly this data. Its entry alone does not tell: a stranger may have
    written it first, with the pieces of another object."""
    try:
        return await _read(bus, name, len(data)) == data
    except (NotStored, TooLarge):
        return False


async def _store(bus: Bus, name: str, data: bytes) -> None:
    nuid, size = new_id(), min(_PIECE, room(bus))
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    subject = object_pieces(BUCKET, nuid)
    entry = {
        "name": name,
        "bucket": BUCKET,
        "nuid": nuid,
        "size": len(data),
        "chunks": len(pieces),
        "digest": f"SHA-256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()}",
        "mtime": datetime.now(UTC).isoformat(),
        "options": {"max_chunk_size": size},
    }
    try:
        for number, piece in enumerate(pieces):
            await jetstream.store(bus, subject, piece, message_id=f"{nuid}.{number}")
        await jetstream.store(
            bus,
            object_entry(BUCKET, name),
            json.dumps(entry).encode(),
            message_id=nuid,
            headers={"Nats-Rollup": "sub"},  # an entry that cannot be used goes
        )
    except BusError:
        with contextlib.suppress(BusError):
            await jetstream.api(bus, f"STREAM.PURGE.{STREAM}", {"filter": subject})
        raise


async def _read(bus: Bus, name: str, most: int) -> bytes:
    """The data of an object.

    Raises:
        NotStored: there is no such object.
        TooLarge: it has more than `most` bytes; no more than that is read. Its size in the entry
            is what the writer wrote.
        BusError: the object store does not answer.
    """
    entry = await _entry(bus, name)
    if entry is None:
        raise NotStored(f"there is no object {name}")
    if entry.size > most:
        raise TooLarge(f"object {name}", size=entry.size, limit=most)
    data = bytearray()
    async for piece in _pieces(bus, object_pieces(BUCKET, entry.nuid)):
        data += piece
        if len(data) > most:
            raise TooLarge(f"object {name}", size=len(data), limit=most)
    return bytes(data)


async def _pieces(bus: Bus, subject: str) -> AsyncIterator[bytes]:
    """From the leader of the stream: another server may not have the last pieces yet."""
    sequence = 0
    while True:
        sequence, piece = await jetstream.next_after(bus, STREAM, subject, sequence)
        if not sequence:
            return
        yield piece
