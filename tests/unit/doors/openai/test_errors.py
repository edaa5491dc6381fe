"""Errors as OpenAI's clients expect them."""

from __future__ import annotations

import json

import pytest

from agentd.doors.openai.errors import BadRequest, failure, response
from agentd.doors.refusal import Refusal, refusal_of
from agentd.errors import BusError, TaskError


@pytest.mark.parametrize(
    ("code", "status", "type_", "theirs"),
    [
        ("no_taker", 404, "invalid_request_error", "model_not_found"),
        ("overloaded", 429, "rate_limit_error", "rate_limit_exceeded"),
        ("budget", 429, "rate_limit_error", "insufficient_quota"),
        ("client_tools", 400, "invalid_request_error", "client_tools"),
        ("invalid_input", 422, "invalid_request_error", "invalid_input"),
        ("model_refused", 400, "invalid_request_error", "content_filter"),
        ("model_auth", 500, "server_error", "model_auth"),
        ("model_timeout", 504, "server_error", "model_timeout"),
    ],
)
def test_an_error_has_the_status_and_the_words_of_openai(
    code: str, status: int, type_: str, theirs: str
) -> None:
    given = response(refusal_of(TaskError("It failed.", code=code)))
    assert given.status_code == status
    error = json.loads(bytes(given.body))["error"]
    assert error == {"message": "It failed.", "type": type_, "param": None, "code": theirs}


def test_a_bad_request_names_the_field() -> None:
    error = json.loads(bytes(response(BadRequest("n", "must be 1")).body))["error"]
    assert (error["param"], error["message"]) == ("n", "n must be 1")


@pytest.mark.parametrize(
    ("refusal", "status", "kind"),
    [
        (Refusal(401, "unauthorized", "No key."), 401, "authentication_error"),
        (Refusal(403, "forbidden", "No."), 403, "permission_error"),
        (refusal_of(BusError("away")), 503, "server_error"),
    ],
)
def test_what_the_guard_refuses_has_the_same_shape(
    refusal: Refusal, status: int, kind: str
) -> None:
    given = response(refusal)
    assert given.status_code == status
    assert json.loads(bytes(given.body))["error"]["type"] == kind


def test_a_client_is_asked_not_to_repeat_what_agentd_has_tried() -> None:
    refusal = failure({"code": "model_overloaded", "message": "away"})
    assert (refusal.status, str(refusal)) == (503, "away")
    assert response(refusal).headers["x-should-retry"] == "false"
