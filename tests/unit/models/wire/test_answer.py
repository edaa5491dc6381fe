"""Any JSON of a provider is an answer or a ModelError, and an answer is never over the limit."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentd.errors import ModelError
from agentd.models.failures import Failures
from agentd.models.port import ToolCall, Usage
from agentd.models.wire.answer import MAX_TEXT, AnswerParser

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
KEYS = [
    *("choices", "delta", "message", "content", "tool_calls", "function", "name", "arguments"),
    *("id", "index", "usage", "error", "object", "prompt_tokens", "completion_tokens", "code"),
    *("prompt_tokens_details", "finish_reason", "reasoning", "text"),
]
junk = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
        | inner.map(lambda value: {"choices": [{"delta": value, "message": value}]})
        | inner.map(lambda value: {"choices": [{"delta": {"tool_calls": [value]}}]})
    ),
    max_leaves=12,
)


def answer() -> AnswerParser:
    return AnswerParser(Failures("openai/x"))


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


@given(st.lists(junk, max_size=4))
@example([{"choices": [{"delta": {"content": "\ud83d"}, "finish_reason": "stop"}]}])
@example([{"choices": [{"delta": {}, "finish_reason": "\ud83d"}]}])
@example([{"choices": [{"delta": {"tool_calls": [{"index": -1, "id": ""}]}}]}])
def test_any_json_is_an_answer_or_a_model_error(chunks: list[Any]) -> None:
    streamed = answer()
    with suppress(ModelError):
        pieces = [streamed.add(chunk) for chunk in chunks]
        completion = streamed.completion()
        assert completion.text == "".join(pieces)
        json.dumps(asdict(completion), ensure_ascii=False).encode()


@given(junk)
def test_any_whole_response_is_an_answer_or_a_model_error(response: Any) -> None:
    whole = answer()
    with suppress(ModelError):
        text = whole.add_whole(response)
        assert whole.completion().text == text


def test_half_an_emoji_becomes_text_that_can_be_encoded() -> None:
    streamed = answer()
    pieces = [streamed.add(delta(content=half)) for half in ("\ud83d", "\ude00")]
    streamed.add(delta("stop"))
    assert "".join(pieces) == streamed.completion().text == "\ufffd\ufffd"


def test_only_a_finish_reason_proves_that_a_stream_is_complete() -> None:
    streamed = answer()
    streamed.add(delta(content="half an ans"))
    with pytest.raises(ModelError, match="finish_reason") as caught:
        streamed.completion()
    assert caught.value.code == "model_truncated"
    assert caught.value.retryable


def test_the_limit_counts_the_bytes_of_text_reasoning_and_arguments() -> None:
    streamed = answer()
    streamed.add(delta(content="é" * (MAX_TEXT // 2 - 10)))
    streamed.add(delta(reasoning_content="x" * 15))
    with pytest.raises(ModelError) as caught:
        streamed.add(delta(tool_calls=[{"function": {"name": "f", "arguments": "x" * 10}}]))
    assert caught.value.code == "model_too_large"


def _is_no_null(arguments: str) -> bool:
    return arguments == "" or arguments.strip() not in ("", "null")


@given(
    st.lists(
        st.tuples(
            st.from_regex("[a-z]{1,5}", fullmatch=True), st.text(max_size=30).filter(_is_no_null)
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 9),
)
def test_fragments_of_tool_calls_are_joined(calls: list[tuple[str, str]], size: int) -> None:
    streamed = answer()
    for index, (name, arguments) in enumerate(calls):
        head = {"index": index, "id": f"id{index}", "function": {"name": name, "arguments": ""}}
        streamed.add(delta(tool_calls=[head]))
        for start in range(0, len(arguments), size):
            piece = {"index": index, "function": {"arguments": arguments[start : start + size]}}
            streamed.add(delta(tool_calls=[piece]))
    streamed.add(delta("tool_calls"))
    assert streamed.completion().tool_calls == tuple(
        ToolCall(f"id{index}", name, arguments or "{}")
        for index, (name, arguments) in enumerate(calls)
    )


def test_parallel_calls_that_all_have_index_0_stay_apart() -> None:
    streamed = answer()
    for name in ("a", "b"):
        call = {"index": 0, "id": f"call_{name}", "function": {"name": name, "arguments": {"x": 1}}}
        streamed.add(delta(tool_calls=[call]))
    streamed.add(delta("stop"))
    calls = streamed.completion().tool_calls
    assert [(call.id, call.name, json.loads(call.arguments)) for call in calls] == [
        ("call_a", "a", {"x": 1}),
        ("call_b", "b", {"x": 1}),
    ]


def test_content_parts_are_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert answer().add_whole({"choices": [{"message": {"content": parts}}]}) == "ab"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_refusal_is_no_answer(streamed: bool) -> None:
    parser = answer()
    if streamed:
        assert (
            parser.add(delta(refusal="I would ")) == parser.add(delta(refusal="rather not.")) == ""
        )
        parser.add(delta("stop"))
    else:
        message = {"content": None, "refusal": "I would rather not."}
        assert parser.add_whole({"choices": [{"message": message}]}) == ""
    with pytest.raises(ModelError, match=r"I would rather not\.") as caught:
        parser.completion()
    assert caught.value.code == "model_refused"


def test_usage_has_the_cached_and_the_reasoning_tokens() -> None:
    whole = answer()
    whole.add_whole(
        {
            "choices": [{"message": {"content": "x"}, "finish_reason": "length"}],
            "usage": {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "completion_tokens_details": {"reasoning_tokens": 8},
                "prompt_tokens_details": {"cached_tokens": 64},
            },
        }
    )
    completion = whole.completion()
    assert completion.usage == Usage(100, 20, reasoning_tokens=8, cache_read=64)
    assert Usage(100, 20).total == 120
    assert completion.finish_reason == "length"
    assert completion.cost is None


def test_a_response_without_choices_is_an_error() -> None:
    with pytest.raises(ModelError, match="no choices") as caught:
        answer().add_whole({"choices": []})
    assert caught.value.code == "model_garbage"


@pytest.mark.parametrize(
    "chunk",
    [
        {"error": {"message": "slow down", "code": 429}},
        {"object": "error", "message": "slow down", "code": 429},
        {"choices": [{"index": 0, "delta": {"content": "4"}, "error": {"code": 429}}]},
        {"choices": [{"index": 0, "finish_reason": "error", "error": {"code": "429"}}]},
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_error_inside_an_answer_is_an_error(chunk: Any, streamed: bool) -> None:
    parser = answer()
    with pytest.raises(ModelError) as caught:
        _ = parser.add(chunk) if streamed else parser.add_whole(chunk)
    assert (caught.value.code, caught.value.retryable) == ("model_rate_limited", True)


def test_an_error_after_text_has_what_was_used() -> None:
    parser = answer()
    parser.add({**delta(content="4"), "usage": {"prompt_tokens": 10, "completion_tokens": 1}})
    with pytest.raises(ModelError) as caught:
        parser.add({"error": "the upstream is gone"})
    parser.charge(caught.value)
    assert (caught.value.may_cost, caught.value.usage) == (True, Usage(10, 1))


def test_what_litellm_makes_of_a_finish_reason_is_undone() -> None:
    fields = {"native_finish_reason": "error"}
    choice = {"message": {"content": "4"}, "finish_reason": "stop"}
    parser = answer()
    parser.add_whole({"choices": [{**choice, "provider_specific_fields": fields}]})
    assert parser.finish_reason == "error"


def test_a_call_in_the_older_format_is_a_call() -> None:
    parser = answer()
    parser.add(delta(function_call={"name": "f", "arguments": '{"x"'}))
    parser.add(delta("function_call", function_call={"arguments": ": 1}"}))
    [call] = parser.completion().tool_calls
    assert (call.name, call.arguments) == ("f", '{"x": 1}')


def test_a_message_inside_a_stream_is_read_once() -> None:
    parser = answer()
    message = {"choices": [{"message": {"content": "hello"}, "delta": {}}]}
    assert parser.add(message) == "hello"
    assert parser.add({"choices": [{**message["choices"][0], "finish_reason": "stop"}]}) == ""


def test_own_fields_travel_with_the_answer() -> None:
    parser = answer()
    parser.add(delta(reasoning_content="I must"))
    parser.add(delta(reasoning_content=" look."))
    call = {"index": 0, "id": "a", "function": {"name": "f"}, "extra_content": {"google": "sig"}}
    parser.add(delta("tool_calls", tool_calls=[call]))
    completion = parser.completion()
    assert completion.own == {"reasoning_content": "I must look."}
    assert completion.tool_calls[0].own == {"extra_content": {"google": "sig"}}


@pytest.mark.parametrize(
    ("completion", "total", "output"),
    [(30, 40, 30), (10, 40, 30), (10, 20, 10)],
    ids=["as OpenAI counts", "as xAI counts", "unclear"],
)
def test_reasoning_tokens_count_as_output(completion: int, total: int, output: int) -> None:
    whole = answer()
    whole.add_whole(
        {
            "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": 10,
                "completion_tokens": completion,
                "total_tokens": total,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
        }
    )
    usage = whole.completion().usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (10, output, 20)
