"""How an answer ended is decided from its finish reason and from what it contains."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.errors import ModelError
from agentd.models.ending import Ending, accepted, ending_of
from agentd.models.failures import Failures
from agentd.models.port import Completion, ToolCall, Usage

CALL = ToolCall("a", "wipe", "{}")
failures = Failures("openai/x")


def answer(text: str = "hello", reason: str = "stop", **fields: Any) -> Completion:
    return Completion(text, "openai/x", reason, **fields)


def refused(completion: Completion, **options: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        accepted(completion, failures, **options)
    return caught.value


@pytest.mark.parametrize(
    ("ending", "reasons"),
    [
        (Ending.WHOLE, "stop STOP end_turn eos tool_calls function_call tool_use stop_sequence"),
        (Ending.WHOLE, "a_word_that_nobody_knows"),
        (Ending.CUT, "length max_tokens MAX_TOKENS max_output_tokens model_length maxTokens"),
        (Ending.CUT, "model_context_window_exceeded context_length_exceeded ERROR_LIMIT"),
        (Ending.REFUSED, "content_filter content-filter SAFETY RECITATION refusal BLOCKLIST"),
        (Ending.REFUSED, "PROHIBITED_CONTENT SPII guardrail_intervened sensitive ERROR_TOXIC"),
        (Ending.FAILED, "error network_error insufficient_system_resource abort OTHER"),
        (Ending.FAILED, "MALFORMED_FUNCTION_CALL FINISH_REASON_UNSPECIFIED cancelled timeout"),
    ],
)
def test_the_words_of_many_providers_are_known(ending: Ending, reasons: str) -> None:
    assert {ending_of(answer(reason=reason)) for reason in reasons.split()} == {ending}


@pytest.mark.parametrize(
    ("completion", "refusal", "ending"),
    [
        (answer(reason=""), "", Ending.UNFINISHED),
        (answer(""), "", Ending.EMPTY),
        (answer(" \n"), "", Ending.EMPTY),
        (answer("", "tool_calls"), "", Ending.EMPTY),
        (answer("", reasoning="Hm."), "", Ending.EMPTY),
        (answer("", tool_calls=(CALL,)), "", Ending.WHOLE),
        (answer("fine", "tool_calls"), "", Ending.WHOLE),
        (answer(""), "I would rather not.", Ending.REFUSED),
        (answer("", "length"), "", Ending.CUT),
        (answer("", "error"), "I would rather not.", Ending.FAILED),
    ],
)
def test_an_answer_without_content_is_none(
    completion: Completion, refusal: str, ending: Ending
) -> None:
    assert ending_of(completion, refusal) is ending


@pytest.mark.parametrize(
    ("completion", "code", "retryable", "words"),
    [
        (answer("", "length"), "model_cut_off", False, "cut off before its first word"),
        (answer("x", "length", tool_calls=(CALL,)), "model_cut_off", False, "of a tool call"),
        (answer("x", "content_filter"), "model_refused", False, "refused to answer"),
        (answer("x", "error", tool_calls=(CALL,)), "model_overloaded", True, "could not finish"),
        (answer(""), "model_empty", True, "neither text nor a tool call"),
        (answer("", reasoning="Hm."), "model_empty", True, "nothing but reasoning"),
        (answer(reason=""), "model_truncated", True, "no finish_reason"),
    ],
)
def test_an_answer_that_cannot_be_used_is_an_error(
    completion: Completion, code: str, retryable: bool, words: str
) -> None:
    error = refused(completion)
    assert (error.code, error.retryable) == (code, retryable)
    assert words in str(error)


def test_the_words_of_a_refusal_are_in_the_error() -> None:
    error = refused(answer(""), refusal="I would rather not.")
    assert (error.code, error.retryable) == ("model_refused", False)
    assert str(error).endswith("I would rather not.")


def test_the_error_has_what_the_call_has_used() -> None:
    error = refused(answer("", usage=Usage(10, 5), cost=0.25))
    assert (error.usage, error.cost, error.may_cost) == (Usage(10, 5), 0.25, True)
    assert refused(answer("", "content_filter")).may_cost


@pytest.mark.parametrize(
    ("reason", "parameters", "usage", "cut"),
    [
        ("length", {"max_tokens": 5}, None, "max_tokens"),
        ("length", {"max_tokens": 5}, Usage(10, 5), "max_tokens"),
        ("length", {"max_completion_tokens": 5}, Usage(10, 5), "max_tokens"),
        ("length", {"max_tokens": 500}, Usage(8000, 192), "context"),
        ("length", {}, Usage(8000, 192), "context"),
        ("max_tokens", {}, None, "max_tokens"),
        ("model_context_window_exceeded", {"max_tokens": 5}, None, "context"),
    ],
)
def test_text_that_was_cut_off_says_by_what(
    reason: str, parameters: dict[str, Any], usage: Usage | None, cut: str
) -> None:
    completion = answer("Once upon a", reason, usage=usage)
    assert accepted(completion, failures, parameters=parameters).cut == cut


def test_what_cut_an_answer_off_stays_known_in_the_journal() -> None:
    recorded = answer("Once upon a", "length", cut="max_tokens")
    assert accepted(recorded, failures) == recorded


def test_the_hint_names_the_limit() -> None:
    assert "above 20" in str(refused(answer("", "length"), parameters={"max_tokens": 20}))
    assert "context" in str(refused(answer("", "length")))
