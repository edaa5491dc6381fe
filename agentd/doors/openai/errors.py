"""Errors in the shape of OpenAI, so that its clients raise the right exception."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from agentd.doors.refusal import Refusal, refusal_of
from agentd.errors import TaskError

# The word of OpenAI for a code of ours; a code without one stays as it is.
_CODES = {
    "budget": "insufficient_quota",
    "model_rate_limited": "rate_limit_exceeded",
    "model_refused": "content_filter",
    "no_taker": "model_not_found",
    "overloaded": "rate_limit_exceeded",
    "unauthorized": "invalid_api_key",
}
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
# OpenAI reports a used-up budget like a rate.
_STATUS = {402: 429}


class BadRequest(Refusal):
    """The request cannot be served as it is; `param` names the field that is wrong."""

    def __init__(self, param: str, problem: str) -> None:
        super().__init__(400, "invalid_value", f"{param} {problem}")
        self.param = param


def failure(error: Mapping[str, Any]) -> Refusal:
    """The error that a task has ended with: the field `error` of its result.

    A client of OpenAI would send the whole request again after most errors of a server. agentd has
    tried before what is worth another try, so the client is asked not to.
    """
    code, text = str(error.get("code")), str(error.get("message"))
    refusal = refusal_of(TaskError(text, code=code))
    refusal.headers["x-should-retry"] = "false"
    return refusal


def body(refusal: Refusal) -> dict[str, Any]:
    """The object that OpenAI's clients read: `message`, `type`, `param` and `code`."""
    status = _STATUS.get(refusal.status, refusal.status)
    by_status = "server_error" if status >= 500 else "invalid_request_error"
    return {
        "message": str(refusal),
        "type": _TYPES.get(status, by_status),
        "param": refusal.param if isinstance(refusal, BadRequest) else None,
        "code": _CODES.get(refusal.code, refusal.code),
    }


def response(refusal: Refusal) -> Response:
    """The response to a request that is not served."""
    status = _STATUS.get(refusal.status, refusal.status)
    return JSONResponse({"error": body(refusal)}, status, refusal.headers)
