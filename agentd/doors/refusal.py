"""A request that is not served: the HTTP status, our code, and a text for the caller."""

from __future__ import annotations

from collections.abc import Mapping

from agentd.errors import (
    AgentdError,
    BusError,
    DecodeError,
    SubjectError,
    TaskError,
    TooLarge,
    UsageError,
)

# Seconds after which a caller may try again, where nothing says when it will be better.
_SOON = 2

# The statuses of codes that a task can end with. Any other: the task failed here, not the request.
_STATUS = {
    "answer_schema": 400,
    "bad_part": 400,
    "budget": 402,
    "cancelled": 409,
    "client_tools": 400,
    "expired": 504,
    "idempotency_conflict": 422,
    "invalid_input": 422,
    "malformed": 400,
    "model_not_allowed": 400,
    "model_overloaded": 503,
    "model_rate_limited": 429,
    "model_refused": 400,
    "model_rejected": 400,
    "model_timeout": 504,
    "no_answer": 504,
    "no_model": 400,
    "no_taker": 404,
    "object_missing": 400,
    "object_too_large": 413,
    "overloaded": 429,
    "parameter_not_allowed": 400,
    "unencodable": 422,
    "unsupported_part": 400,
}


class Refusal(AgentdError):
    """A request is not served. `str(refusal)` says what is wrong and how to mend it.

    Attributes:
        status: the HTTP status.
        code: one word for programs, as in the results of tasks.
        headers: more headers of the response, such as `Retry-After`.
    """

    def __init__(
        self, status: int, code: str, text: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})


def refusal_of(error: AgentdError) -> Refusal:
    """What a caller is answered when a handler raises `error`."""
    match error:
        case Refusal():
            return error
        case TaskError(code=code):
            return _again(_STATUS.get(code, 500), code, str(error))
        case TooLarge():
            return Refusal(413, "too_large", str(error))
        case BusError():
            return _again(503, "unavailable", f"NATS did not serve the request: {error}")
        case DecodeError() | SubjectError() | UsageError():
            return Refusal(400, "malformed", str(error))
        case _:
            return Refusal(500, "internal", str(error))


def _again(status: int, code: str, text: str) -> Refusal:
    """A refusal; with `Retry-After` where the same request may be served later."""
    headers = {"Retry-After": str(_SOON)} if status in (429, 503) else None
    return Refusal(status, code, text, headers=headers)
