"""What an error means is found in its status, its codes and its words."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.models.meaning import is_too_long, meaning

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


@pytest.mark.parametrize(
    "text",
    [
        "request (1431 tokens) exceeds the available context size (512 tokens), try increasing it",
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens",
        "error code context_length_exceeded",
        "prompt is too long: 208310 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
        "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
        "Please reduce the length of the messages or completion.",
        "the context overflows. However, the model is loaded with context length of only 4096",
        "Your request exceeded model token limit: 131072",
        "Input is too long for requested model.",
        "`inputs` tokens + `max_new_tokens` must be <= 4097",
        "the answer was cut off before its first word (the context of the model is full)",
    ],
)
def test_a_prompt_that_does_not_fit_the_context_is_recognised(text: str) -> None:
    assert is_too_long(text)


@pytest.mark.parametrize(
    "text",
    [
        "Rate limit reached on tokens per minute (TPM): Limit 6000, Requested 7000",
        "Invalid schema for function 'look': In context=(), object schema missing properties.",
        "Unknown parameter: 'stream_options'.",
        "rpc error: context deadline exceeded",
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens",
        "The response was filtered due to the prompt triggering the content management policy.",
    ],
)
def test_other_refusals_are_not_about_the_context(text: str) -> None:
    assert not is_too_long(text)
