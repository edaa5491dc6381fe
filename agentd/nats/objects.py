"""Contents too large for a message: the sender stores them by digest, the reader fetches them.

The message then has `{"$object": {"digest": "sha256:…", "size": bytes}}` in place of its content
(in a result: in place of `data`). They are stored in `agentd_objects`, an object store of NATS.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from agentd.errors import DecodeError, NotStored, TaskError, TooLarge, Undeliverable
from agentd.nats.bus import Bus
from agentd.protocol.message import AgentMessage, encode
from agentd.protocol.strict_json import parse

BUCKET = "agentd_objects"
MARK = "$object"

# Bytes left free for our headers, and for those that the server adds when WORK sources the message;
# at most a quarter of what the server takes.
_HEADROOM = 16 * 1024
_PATIENCE = 30.0  # seconds to fetch one object; a piece of it may be missing
MOST = 32 * 1024**2  # bytes of a content


def room(bus: Bus) -> int:
    """How many bytes a message may have without its headers."""
    return bus.max_message - min(_HEADROOM, bus.max_message // 4)


async def fit(bus: Bus, message: AgentMessage) -> bytes:
    """`message` as bytes; a content that is too large for the server is stored as an object.

    Raises:
        BusError: the content could not be stored.
    """
    data = encode(message)
    if len(data) <= room(bus):
        return data
    return encode(_with(message, await _put(bus, _spillable(message))))


async def whole(bus: Bus, message: AgentMessage) -> AgentMessage:
    """`message` with its content, fetched if it was stored as an object.

    Raises:
        Undeliverable: the object is no content: too large, or not the JSON of a message
            (`malformed`).
        TaskError: the object no longer exists, or does not match its digest (`object_missing`).
        BusError: the object store does not answer.
    """
    reference = _reference(_spillable(message))
    return message if reference is None else _with(message, await _get(bus, reference))


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
    await bus.put_object(BUCKET, digest, data)
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
            data = await bus.get_object(BUCKET, digest, most=most)
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


async def _put(bus: Bus, part: Any) -> dict[str, Any]:
    data = json.dumps(part, ensure_ascii=False).encode()
    return {MARK: {"digest": await put(bus, data), "size": len(data)}}


async def _get(bus: Bus, reference: Mapping[str, Any]) -> Any:
    digest = str(reference["digest"])
    try:
        return parse(await fetch(bus, digest), most=MOST)
    except DecodeError as error:
        raise Undeliverable(f"the content {digest} is {error}", code="malformed") from None
    except TaskError as error:
        if error.code != "object_too_large":
            raise
        raise Undeliverable(str(error), code="malformed") from None


def digest_of(data: bytes) -> str:
    """The name of an object with this data: `sha256:` and 64 hex digits."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
