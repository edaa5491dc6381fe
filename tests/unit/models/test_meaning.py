"""What an error means is found in its status, its codes and its words."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.models.meaning import meaning

TOO_LONG = "This model's maximum context length is 8192 tokens"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"code": 429}, "model_rate_limited"),
        ({"code": "429"}, "model_rate_limited"),
        ({"status": 503}, "model_overloaded"),
        ({"code": "rate_limit_exceeded"}, "model_rate_limited"),
        ({"code": None, "status": "RESOURCE_EXHAUSTED"}, "model_rate_limited"),
        ({"type": "overloaded_error"}, "model_overloaded"),
        ({"type": "server_error"}, "model_overloaded"),
        ({"code": "invalid_api_key", "type": "invalid_request_error"}, "model_auth"),
        ({"type": "permission_error"}, "model_auth"),
        ({"code": "model_not_found", "type": "invalid_request_error"}, "model_not_found"),
        ({"code": "400", "message": "bad"}, "model_rejected"),
        ({"type": "invalid_request_error"}, "model_rejected"),
        ({"status": "INVALID_ARGUMENT"}, "model_rejected"),
        ({"code": "context_length_exceeded"}, "model_rejected"),
        ({"message": TOO_LONG}, "model_rejected"),
        (TOO_LONG, "model_rejected"),
        ("litellm.BadRequestError: prompt", "model_rejected"),
        ("litellm.RateLimitError: slow down", "model_rate_limited"),
        ("Error code: 400 - {'error': …}", "model_rejected"),
        ({"error": {"error": {"code": "400"}}}, "model_rejected"),
        ({"code": "content_filter", "status": 400}, "model_refused"),
        ({"code": "content_filter"}, "model_refused"),
        ({"type": "timeout_error"}, "model_timeout"),
        ("bad things", "model_overloaded"),
        ({}, "model_overloaded"),
        (None, "model_overloaded"),
        ({"code": True, "type": ["x"]}, "model_overloaded"),
    ],
)
def test_an_error_inside_a_200(error: Any, code: str) -> None:
    assert meaning(error).code == code


@pytest.mark.parametrize(
    ("status", "error", "code", "final"),
    [
        (500, {"code": "400"}, "model_rejected", False),
        (500, {"message": TOO_LONG}, "model_rejected", True),
        (502, {"code": 429}, "model_rate_limited", False),
        (500, {"type": "invalid_request_error"}, "model_overloaded", False),
        (500, "content_filter", "model_overloaded", False),
        (429, {"message": "Too many tokens per minute"}, "model_rate_limited", False),
        (429, {"message": "Request too large for gpt-4o"}, "model_rate_limited", True),
        (429, {"code": "insufficient_quota"}, "model_rate_limited", True),
        (402, {"message": "Insufficient Balance"}, "model_rejected", True),
        (413, {"message": TOO_LONG}, "model_rejected", True),
        (400, {"code": "content_filter"}, "model_refused", True),
        (301, "", "model_config", False),
    ],
)
def test_an_error_with_a_status(status: int, error: Any, code: str, final: bool) -> None:
    means = meaning(error, status)
    assert (means.code, means.final) == (code, final)
