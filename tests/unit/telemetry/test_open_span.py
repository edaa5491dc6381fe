"""What is said of a span while it is open: who may see it, and what counts as a failure."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import Span

from agentd.errors import ModelError, Paused
from agentd.telemetry.open_span import OpenSpan, ToolSpan, code_of, tried
from tests.recorded_spans import said


def span() -> Span:
    return TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span("x")


def seen(opened: OpenSpan) -> ReadableSpan:
    assert isinstance(opened.otel, ReadableSpan)
    return opened.otel


def failing() -> dict[str, Any]:
    raise KeyError("a stranger's message")


@pytest.mark.parametrize("with_content", [True, False])
def test_content_is_said_where_it_may_be(with_content: bool) -> None:
    opened = OpenSpan(span(), with_content)
    opened.say(lambda: {"a": 1}, content=lambda: {"b": 2})
    assert said(seen(opened)) == ({"a": 1, "b": 2} if with_content else {"a": 1})


@pytest.mark.parametrize("with_content", [True, False])
def test_the_text_of_an_error_is_content(with_content: bool) -> None:
    opened = OpenSpan(span(), with_content)
    opened.fail_with(ModelError("it said: yes", code="model_refused"))
    assert opened.code == said(seen(opened))["error.type"] == "model_refused"
    wanted = "it said: yes" if with_content else "model_refused"
    assert seen(opened).status.description == wanted


def test_to_wait_for_a_decision_is_no_failure() -> None:
    opened = OpenSpan(span(), with_content=False)
    opened.fail_with(Paused(1))
    assert (opened.code, seen(opened).status.is_unset) == ("", True)


def test_what_cannot_be_said_is_left_out() -> None:
    opened = OpenSpan(span(), with_content=False)
    opened.say(failing)
    opened.say(lambda: {"a": 1})
    assert said(seen(opened)) == {"a": 1}
    assert tried(failing) is None


def test_an_answer_of_a_tool_that_is_an_error_is_a_failure() -> None:
    opened = OpenSpan(span(), with_content=False)
    ToolSpan(opened).answered("no such city", error=True)
    assert said(seen(opened)) == {"error.type": "tool_error"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ModelError("x", code="model_timeout"), "model_timeout"),
        (asyncio.CancelledError(), "cancelled"),
        (ValueError("x"), "ValueError"),
    ],
)
def test_an_error_has_one_of_few_words(error: BaseException, code: str) -> None:
    assert code_of(error) == code
