"""Errors say what happened and what to do, in one short line, without a key."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentd.errors import ModelError
from agentd.models.failures import SHOWN, Failures, retry_after
from agentd.testing.virtual_time import in_virtual_time

KEY = "sk-aVerySecretKey123"
failures = Failures("openai/gpt-4o", (KEY,))


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (301, "model_config", False),
        (400, "model_rejected", False),
        (401, "model_auth", False),
        (402, "model_rejected", False),
        (403, "model_auth", False),
        (404, "model_not_found", False),
        (408, "model_timeout", True),
        (409, "model_rejected", True),
        (422, "model_rejected", False),
        (429, "model_rate_limited", True),
        (500, "model_overloaded", True),
        (503, "model_overloaded", True),
        (529, "model_overloaded", True),
    ],
)
def test_the_status_decides_the_code_and_whether_to_retry(
    status: int, code: str, retryable: bool
) -> None:
    error = failures.refused(status, '{"error": {"message": "because"}}')
    assert (error.code, error.retryable, error.status) == (code, retryable, status)
    assert str(error).startswith(f"openai/gpt-4o: answered {status}: because")


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (400, ""),
        (401, " (check the API key and what it may use)"),
        (404, " (check the name of the model and the address)"),
        (500, ""),
    ],
)
def test_an_error_that_a_user_can_fix_has_a_hint(status: int, hint: str) -> None:
    assert str(failures.refused(status, "no")) == f"openai/gpt-4o: answered {status}: no{hint}"
    assert str(failures.refused(status, "no", hint="x")).endswith(": no (x)")


def test_an_account_without_money_is_not_tried_again() -> None:
    body = json.dumps({"error": {"message": "You have no quota", "code": "insufficient_quota"}})
    error = failures.refused(429, body)
    assert (error.code, error.retryable) == ("model_rate_limited", False)
    assert str(error).endswith("(the account has no money left, or has reached its limit)")


@pytest.mark.parametrize(("status", "code"), [(400, "model_refused"), (500, "model_overloaded")])
def test_a_content_policy_is_recognised_in_a_400(status: int, code: str) -> None:
    body = json.dumps({"error": {"message": "no", "code": "content_policy_violation"}})
    assert failures.refused(status, body).code == code


@given(st.text(max_size=2000), st.text(max_size=2000), st.integers(300, 599))
def test_no_error_shows_the_key(before: str, after: str, status: int) -> None:
    for body in (
        before + KEY + after,
        json.dumps({"error": {"message": before + KEY + after}}),
        json.dumps({"detail": [{"msg": KEY}]}),
    ):
        text = str(failures.refused(status, body))
        assert KEY not in text
        assert "\n" not in text
        provider = text.removesuffix(")").partition(" (check the ")[0]
        assert len(provider) <= SHOWN + len("openai/gpt-4o: ")


def test_a_key_where_the_text_is_cut_is_not_shown() -> None:
    for fill in range(SHOWN - 60, SHOWN + 5):
        assert KEY[:6] not in str(failures.error("model_auth", "." * fill + KEY))


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ('{"error": "no such model"}', "no such model"),
        ('{"message": "nope", "code": 3}', "nope"),
        ('{"detail": "Not Found"}', "Not Found"),
        ('{"detail": [{"loc": ["body"]}]}', '[{"loc": ["body"]}]'),
        ("<html>\n<b>Bad gateway</b>", "<html> <b>Bad gateway</b>"),
        ("", "(no text)"),
        ("{}", "{}"),
        ("[" * 100_000, "[" * 100),
    ],
)
def test_the_text_of_a_provider_is_found_in_every_format(body: str, shown: str) -> None:
    assert shown in str(failures.refused(500, body))


def test_retry_after_is_read_in_all_its_formats() -> None:
    def headers(value: str) -> dict[str, str]:
        return {"Retry-After": value}

    assert retry_after({}) is None
    assert retry_after(headers("7")) == 7.0
    assert retry_after(headers("0.5")) == 0.5
    assert retry_after(headers("-3")) == 0.0
    assert retry_after(headers("nan")) is None
    assert retry_after({"retry-after-ms": "250", "retry-after": "1"}) == 0.25
    date = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=30)
    longest = date.timestamp() - time.time()
    wait = retry_after(headers(format_datetime(date, usegmt=True)))
    assert wait is not None
    assert date.timestamp() - time.time() <= wait <= longest
    assert retry_after(headers("Wed, 21 Oct 2015 07:28:00 GMT")) == 0.0


@example("3000000000 OCT 0 0:0")
@given(st.text(max_size=40) | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ .*"))
def test_any_retry_after_is_a_number_of_seconds_or_none(value: str) -> None:
    wait = retry_after({"Retry-After": value})
    assert wait is None or 0 <= wait < float("inf")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["error", "message", "code", "status"]), inner)
        ),
    )
)
def test_any_error_object_becomes_an_error(error: Any) -> None:
    assert failures.reported(error).code.startswith("model_")


@in_virtual_time
async def test_a_deadline_that_passes_is_a_model_timeout() -> None:
    with pytest.raises(ModelError, match=r"no complete answer within 5 s") as caught:
        async with failures.within(5):
            await asyncio.sleep(10)
    assert caught.value.code == "model_timeout"
    assert asyncio.get_running_loop().time() == 5


async def test_a_call_without_any_time_left_is_not_begun() -> None:
    with pytest.raises(ModelError):
        async with failures.within(0):
            pytest.fail("the call began")


async def test_other_timeouts_pass_through() -> None:
    with pytest.raises(TimeoutError):
        async with failures.within(10):
            raise TimeoutError


async def test_a_cancellation_passes_through() -> None:
    async def call() -> None:
        async with failures.within(10):
            await asyncio.sleep(10)

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_server_that_is_not_there_or_not_ready_is_unavailable() -> None:
    failures = Failures("openai/x")
    assert failures.unreachable("no connection").unavailable
    assert failures.refused(503, "loading").unavailable
    assert not failures.refused(500, "oops").unavailable
    assert not failures.error("model_overloaded", "no", status=503).unavailable


def test_a_short_key_of_a_local_server_does_not_spoil_the_text() -> None:
    text = "wrong key: x; the request exceeds the context"
    assert "wrong key: [key]; the request exceeds the context" in str(
        Failures("m", ("x",)).refused(401, text)
    )
