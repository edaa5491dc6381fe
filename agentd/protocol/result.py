"""A result, as everyone reads it: what it must say, and what it may leave out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agentd.errors import DecodeError
from agentd.protocol.message import AgentMessage, decode

_LONGEST = 1_000  # characters of an error that has another shape


def decode_result(data: bytes) -> AgentMessage:
    """The result in `data`. Its content has `success`, `data`, and of a failed task an `error` with
    `code`, `message` and `retryable`; whatever else is there may have any type.

    Raises:
        DecodeError: it is no message, or does not say whether the task succeeded.
    """
    result = decode(data, type="result")
    _complete(result.payload.content)
    return result


def _complete(content: Any) -> None:
    """Adds what the content of a result may leave out."""
    match content:
        case {"success": True}:
            content.setdefault("error", None)
        case {"success": False}:
            content["error"] = _error(content.get("error"))
        case _:
            raise DecodeError("it does not say whether the task succeeded", path="payload.content")
    content.setdefault("data", None)


def _error(error: Any) -> Mapping[str, Any]:
    match error:
        case {"code": str(), "message": str()}:
            return {"retryable": False, **error}
        case _:
            text = json.dumps(error, ensure_ascii=False)
            return {"code": "unknown", "message": text[:_LONGEST], "retryable": False}
