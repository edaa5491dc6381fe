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

from agentd.errors import BusError, NotStored, TaskError, TooLarge
from agentd.nats.bus import Bus
from agentd.protocol.message import AgentMessage, encode

BUCKET = "agentd_objects"
MARK = "$object"

# Bytes left free for our headers, and for those that the server adds when WORK sources the message;
# at most a quarter of what the server takes.
_HEADROOM = 16 * 1024
# Seconds to fetch one object. If a piece of it is missing, nats-py waits without limit.
_PATIENCE = 30.0


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


async def fetch(bus: Bus, digest: str, *, most: int | None = None) -> bytes:
    """The data that `put` stored under this digest.

    Raises:
        TaskError: it no longer exists, or does not match the digest (`object_missing`); it has
            more than `most` bytes, and was not read (`object_too_large`).
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
        raise BusError(f"{digest} did not arrive within {_PATIENCE:g} s") from None
    # Anyone with access to the store can replace an object that messages refer to.
    if digest != digest_of(data):
        raise TaskError(f"the content {digest} does not match its digest", code="object_missing")
    return data


async def _put(bus: Bus, part: Any) -> dict[str, Any]:
    data = json.dumps(part, ensure_ascii=False).encode()
    return {MARK: {"digest": await put(bus, data), "size": len(data)}}


async def _get(bus: Bus, reference: Mapping[str, Any]) -> Any:
    return json.loads(await fetch(bus, str(reference["digest"])))


def digest_of(data: bytes) -> str:
    """The name of an object with this data: `sha256:` and 64 hex digits."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
