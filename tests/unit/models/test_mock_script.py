"""A script is read as cases and turns, and every problem of a script is reported with its place."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.models.mock_script import CODES, Fault, ScriptError, Turn, parse
from agentd.models.port import ToolCall, Usage


def turns(*script: Any) -> tuple[Turn, ...]:
    [case] = parse(list(script))
    return case.turns


def test_a_text_is_a_turn() -> None:
    assert turns("Hello.", "Bye.") == (Turn(text="Hello."), Turn(text="Bye."))


def test_every_key_of_a_turn_is_read() -> None:
    [turn] = turns(
        {
            "text": "It rains.",
            "reasoning": "hm",
            "latency": "200ms",
            "interval": 2,
            "chunks": 4,
            "usage": {"input": 1000, "output": 500, "reasoning": 9},
            "tool_calls": [{"name": "f", "arguments": {"city": "Köln"}}],
        }
    )

    assert turn == Turn(
        text="It rains.",
        reasoning="hm",
        latency=0.2,
        interval=2.0,
        chunks=4,
        usage=Usage(1000, 500, 9),
        tool_calls=(ToolCall("call_0", "f", '{"city": "K\\u00f6ln"}'),),
    )


def test_arguments_that_are_text_are_passed_on_as_they_are() -> None:
    [turn] = turns({"tool_calls": [{"name": "f", "arguments": "{bad", "id": "mine"}]})

    assert turn.tool_calls == (ToolCall("mine", "f", "{bad"),)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (
            {"status": 429, "message": "slow down", "retry_after": "2s"},
            Fault(code="model_rate_limited", message="slow down", status=429, retry_after=2.0),
        ),
        ({"code": "model_auth"}, Fault(code="model_auth", message="scripted error")),
        (
            {"code": "model_garbage", "status": 500},
            Fault(code="model_garbage", message="scripted error", status=500),
        ),
    ],
)
def test_an_error_has_the_code_or_that_of_its_status(error: dict[str, Any], fault: Fault) -> None:
    assert turns({"error": error})[0].error == fault


@pytest.mark.parametrize("code", CODES)
def test_every_code_of_a_model_error_can_be_scripted(code: str) -> None:
    [turn] = turns({"error": {"code": code}})

    assert turn.error == Fault(code=code, message="scripted error")


def test_a_script_has_turns_or_cases() -> None:
    [only] = parse({"turns": ["x"]})
    assert (only.match, only.turns) == (None, (Turn(text="x"),))
    first, other = parse({"cases": [{"match": r"\bWeather", "turns": ["x"]}, {"turns": ["y"]}]})
    assert first.match is not None
    assert first.match.search("the weather")  # upper and lower case are the same
    assert other.match is None


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (None, "script: must be a mapping"),
        ("turns.yaml", "the script is a file name (turns.yaml), and its content is needed"),
        ([], "turns: must be a list with at least one entry"),
        ({"turn": ["x"]}, "script: unknown key `turn`; did you mean `turns`?"),
        (["fine", {"tex": "x"}], "turn 2: unknown key `tex`; did you mean `text`?"),
        ([3], "turn 1: must be a mapping"),
        ([{"text": 3}], "turn 1, text: must be text"),
        ([{"latency": "fast"}], "turn 1, latency: must be a duration such as 200ms or 2s"),
        ([{"chunks": 0}], "turn 1, chunks: must be a whole number, at least 1"),
        ([{"tool_calls": [{}]}], "turn 1, tool_calls[0]: `name` is missing"),
        ([{"tool_calls": {}}], "turn 1, tool_calls: must be a list"),
        ([{"error": {"code": "model_auht"}}], "did you mean `model_auth`?"),
        ([{"error": {}}], "turn 1, error: needs a `code` or a `status`"),
        ([{"error": {"status": 200}}], "`200` is not an HTTP status of an error (300 to 599)"),
        ([{"usage": {"input": -1}}], "turn 1, usage, input: must be a whole number, at least 0"),
        ({"cases": [{"match": "(", "turns": ["x"]}]}, "case 1, match: is not a regular expression"),
        ({"cases": [{"turns": [{"a": 1}]}]}, "case 1, turn 1: unknown key `a`"),
        ({"cases": [], "turns": []}, "script: has both `turns` and `cases`; remove one"),
    ],
)
def test_a_problem_has_its_place(wrong: Any, problem: str) -> None:
    with pytest.raises(ScriptError) as caught:
        parse(wrong)
    assert problem in str(caught.value)


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ScriptError) as caught:
        parse([{"tex": 1}, {"latency": "x"}, "fine", {"error": {}}])
    assert len(caught.value.problems) == 3


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["turns", "cases", "match", "text", "error", "usage", "tool_calls", "status"]
            ),
            inner,
        )
    ),
)


@given(junk)
def test_any_script_is_cases_or_a_script_error(value: Any) -> None:
    with suppress(ScriptError):
        assert all(case.turns for case in parse(value))
