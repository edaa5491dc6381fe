"""A result, as everyone reads it: what it must say, and what it may leave out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agentd.errors import DecodeError
from agentd.protocol.message import AgentMessage, decode

_LONGEST = 1_000  # characters of an error that has another shape
_LONGEST_CODE = 64


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


def is_success(message: AgentMessage) -> bool:
    """Whether a message is the result of a task that succeeded; a fact of another kind always is.

    The message must be one that `decode_result` has read, if it is a result; so for the others.
    """
    return message.type != "result" or bool(message.payload.content["success"])


def data_of(message: AgentMessage) -> Any:
    """The answer in a result, or the content of an event."""
    content = message.payload.content
    return content["data"] if message.type == "result" else content


def error_of(result: AgentMessage) -> tuple[str, str]:
    """The code and the text of a result that is an error. Anyone may have written it."""
    error = result.payload.content["error"]
    return error["code"][:_LONGEST_CODE], error["message"]
