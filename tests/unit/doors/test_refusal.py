"""What a caller is answered when a handler raises an error."""

from __future__ import annotations

import pytest

from agentd.doors.refusal import Refusal, refusal_of
from agentd.errors import (
    AgentdError,
    BusError,
    DecodeError,
    ModelError,
    NotStored,
    SubjectError,
    TaskError,
    TooLarge,
    UsageError,
)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (TaskError("nobody", code="no_taker"), 404, "no_taker"),
        (TaskError("full", code="overloaded"), 429, "overloaded"),
        (TaskError("late", code="no_answer"), 504, "no_answer"),
        (TaskError("wrong", code="invalid_input"), 422, "invalid_input"),
        (TaskError("large", code="object_too_large"), 413, "object_too_large"),
        (TaskError("new", code="a_code_of_tomorrow"), 500, "a_code_of_tomorrow"),
        (ModelError("no", code="model_auth"), 500, "model_auth"),
        (DecodeError("must be text", path="payload.content"), 400, "malformed"),
        (SubjectError("agent 'a b' must be a token"), 400, "malformed"),
        (UsageError("no such field"), 400, "malformed"),
        (BusError("no connection"), 503, "unavailable"),
        (TooLarge("x", size=9, limit=8), 413, "too_large"),
        (NotStored("the disk is full"), 503, "unavailable"),
        (AgentdError("else"), 500, "internal"),
        (Refusal(403, "forbidden", "not yours"), 403, "forbidden"),
    ],
)
def test_an_error_has_one_status_and_code(error: AgentdError, status: int, code: str) -> None:
    refusal = refusal_of(error)
    assert (refusal.status, refusal.code) == (status, code)
    assert str(error) in str(refusal)


def test_what_may_be_served_later_says_when() -> None:
    for error in (TaskError("full", code="overloaded"), BusError("away")):
        assert refusal_of(error).headers["Retry-After"].isdigit()
    assert refusal_of(TaskError("nobody", code="no_taker")).headers == {}
