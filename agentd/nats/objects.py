"""Contents too large for a message: kept in the object store by digest, and put back by the reader.

A message then carries `{"$object": {"digest": "sha256:…", "size": bytes}}` in place of its content
(of a result, of its `data`). The bucket is one of NATS's own object stores, `agentd_objects`.
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

# What is left for headers, and for what the server adds to a sourced message.
_HEADROOM = 16 * 1024
_PATIENCE = 30.0  # seconds for one object: of one that lost a piece, nats-py would wait for ever


async def fit(bus: Bus, message: AgentMessage) -> bytes:
    """`message` as bytes that the server takes.

    Raises:
        BusError: the object store does not take its content.
    """
    data = encode(message)
    if len(data) + _HEADROOM <= bus.max_message:
        return data
    return encode(_with(message, await _put(bus, _spillable(message))))


async def whole(bus: Bus, message: AgentMessage) -> AgentMessage:
    """`message` with its content put back, if it is elsewhere.

    Raises:
        TaskError: the object is gone, or not what its digest says (`object_missing`).
        BusError: the object store does not answer.
    """
    reference = _reference(_spillable(message))
    return message if reference is None else _with(message, await _get(bus, reference))


def _spillable(message: AgentMessage) -> Any:
    """The part of a message that may be large: of a result its data, so that the rest is read."""
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
    """Keeps `data`; returns its digest, by which it is fetched.

    Raises:
        BusError: the object store does not take it.
    """
    digest = digest_of(data)
    await bus.put_object(BUCKET, digest, data)
    return digest


async def fetch(bus: Bus, digest: str, *, most: int | None = None) -> bytes:
    """What was `put` under this digest, if it has at most so many bytes.

    Raises:
        TaskError: it is gone, or not what its digest says (`object_missing`), or larger
            (`object_too_large`); then it is not read.
        BusError: the object store does not answer.
    """
    try:
        async with asyncio.timeout(_PATIENCE):
            data = await bus.get_object(BUCKET, digest, most=most)
    except NotStored:
        raise TaskError(f"the content {digest} is gone", code="object_missing") from None
    except TooLarge as error:
        text = f"the content {digest} has {error.size:,} bytes, and no more than {most:,} are taken"
        raise TaskError(text, code="object_too_large") from None
    except TimeoutError:
        raise BusError(f"{digest} did not arrive within {_PATIENCE:g} s") from None
    if digest != digest_of(data):
        raise TaskError(f"the content {digest} is not what it was", code="object_missing")
    return data


async def _put(bus: Bus, part: Any) -> dict[str, Any]:
    data = json.dumps(part, ensure_ascii=False).encode()
    return {MARK: {"digest": await put(bus, data), "size": len(data)}}


async def _get(bus: Bus, reference: Mapping[str, Any]) -> Any:
    return json.loads(await fetch(bus, str(reference["digest"])))


def digest_of(data: bytes) -> str:
    """The name that `data` is kept under: `sha256:` and 64 hex digits."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
