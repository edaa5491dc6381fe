"""A run meets the conditions of its case, or each missed condition gives a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from agentd.errors import ModelError
from agentd.models.port import ChatRequest, Completion, ToolCall, Usage
from agentd.run.loop import RunResult
from agentd.testing.cases.case import Expectation
from agentd.testing.cases.judgement import Played, judged, mismatches

COMPLETION = Completion(
    text="", model="m", finish_reason="stop", usage=Usage(3, 4), cost=0.002
)  # the text of a run is in its data


def answered(data: Any, *calls: ToolCall, turns: int = 1) -> Played:
    result = RunResult(data=data, completion=COMPLETION, turns=turns)
    return Played(content="the task", message={"id": "t1"}, result=result, calls=calls)


def failed() -> Played:
    return Played(content="x", message={}, error=ModelError("no key", code="model_auth"))


def missed(played: Played, **expect: Any) -> list[str]:
    return list(mismatches(Expectation.model_validate(expect), played))


LOOK = ToolCall(id="1", name="look", arguments='{"city": "Bonn", "day": 1}')
SAVE = ToolCall(id="2", name="save", arguments="")


@pytest.mark.parametrize(
    ("expect", "sentence"),
    [
        ({"contains": "GREY"}, ""),
        ({"contains": ["grey", "blue"]}, "the answer does not contain 'blue': The sky is grey."),
        ({"matches": "^The .* grey"}, ""),
        ({"matches": "^grey"}, "the answer does not match '^grey': The sky is grey."),
        ({"json": "The sky is grey."}, ""),
        ({"json": {"sky": "grey"}}, 'the answer is "The sky is grey.", not an object'),
        ({"max_turns": 2}, ""),
        ({"max_turns": 1}, "it took 2 turns; max_turns is 1"),
        ({"max_cost": 0.002}, ""),
        ({"max_cost": 0.001}, "it cost $0.002000; max_cost is $0.001000"),
        ({"that": "'grey' in output and result.turns == 2 and result.tokens == 7"}, ""),
        ({"that": "content == 'the task' and message.id == 't1'"}, ""),
        ({"that": "output == 'blue'"}, "`output == 'blue'` does not hold; output is The sky is"),
        ({"error": "budget"}, "it answered The sky is grey.; the error budget is expected"),
    ],
)
def test_an_answer_is_compared_with_each_condition(expect: dict[str, Any], sentence: str) -> None:
    found = missed(answered("The sky is grey.", turns=2), **expect)

    assert [text[: len(sentence)] for text in found] == ([sentence] if sentence else [])


@pytest.mark.parametrize(
    ("expected", "sentence"),
    [
        ({}, ""),
        ({"a": 1}, ""),
        ({"b": {"c": [1, {"d": 2}]}}, ""),
        ({"a": 2}, "the answer.a is 1, not 2"),
        ({"z": 1}, "the answer has no 'z'"),
        ({"b": {"c": [1, {"d": 3}]}}, "the answer.b.c[1].d is 2, not 3"),
        ({"b": {"c": [1]}}, 'the answer.b.c is [1, {"d": 2}], not [1]'),
        ({"b": [1]}, 'the answer.b is {"c": [1, {"d": 2}]}, not [1]'),
    ],
)
def test_json_may_have_more_fields_than_expected(expected: Any, sentence: str) -> None:
    as_text = '{"a": 1, "b": {"c": [1, {"d": 2}]}}'
    as_value = {"a": 1, "b": {"c": [1, {"d": 2}]}}

    for data in (as_text, as_value):
        assert missed(answered(data), json=expected) == ([sentence] if sentence else [])


@pytest.mark.parametrize(
    ("expected", "sentence"),
    [
        (["look", "save"], ""),
        (["save"], ""),
        ([{"name": "look", "arguments": {"city": "Bonn"}}], ""),
        (["save", "look"], "look is not called; called: look("),
        ([{"name": "look", "arguments": {"city": "Ulm"}}], 'look is not called with {"city": "Ul'),
        (["look", "look"], "look is not called; called: look("),
        ([], "no tool call is expected; called: look, save"),
    ],
)
def test_tool_calls_must_be_made_in_order_with_others_in_between(
    expected: Sequence[Any], sentence: str
) -> None:
    found = missed(answered("done", LOOK, SAVE), tool_calls=expected)

    assert [text[: len(sentence)] for text in found] == ([sentence] if sentence else [])


def test_arguments_that_are_not_json_have_no_expected_field() -> None:
    broken = replace(LOOK, arguments="{city")

    assert missed(answered("x", broken), tool_calls=["look"]) == []
    assert missed(answered("x", broken), tool_calls=[{"name": "look", "arguments": {"a": 1}}])


def test_an_unknown_cost_is_a_mismatch() -> None:
    result = RunResult(data="x", completion=replace(COMPLETION, cost=None))
    played = Played(content="x", message={}, result=result)

    assert missed(played, max_cost=1) == ["its cost is not known; give the model a `price`"]


def test_an_error_is_a_mismatch_unless_it_is_expected() -> None:
    assert missed(failed(), contains="x") == ["it failed with model_auth: no key"]
    assert missed(failed(), error="model_auth") == []
    assert missed(failed(), error="budget") == [
        "it failed with model_auth: no key; budget is expected"
    ]


def test_a_long_answer_is_cut_in_a_sentence() -> None:
    [sentence] = missed(answered("x" * 1000), contains="y")

    assert sentence.endswith("x…")
    assert len(sentence) < 400


class Judge:
    """A model that gives one answer; `request` is the last one."""

    name, is_mock = "judge", True

    def __init__(self, text: str) -> None:
        self.text = text
        self.request: ChatRequest | None = None

    async def complete(self, request: ChatRequest, on_delta: Any = None) -> Completion:
        del on_delta
        self.request = request
        return replace(COMPLETION, text=self.text)

    def cost_of(self, usage: Usage) -> float | None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"pass": true, "reason": "fine"}', ""),
        ('Here it is:\n```json\n{"pass": true, "reason": ""}\n```', ""),
        ('{"pass": false, "reason": "too long"}', "the judge: too long"),
        ('{"pass": "yes", "reason": "hm"}', "the judge: hm"),
        ("I like it", "the judge gave no verdict: I like it"),
        ('{"pass": false}', 'the judge gave no verdict: {"pass": false}'),
    ],
)
async def test_a_judge_passes_only_with_a_clear_verdict(text: str, reason: str) -> None:
    assert await judged("is polite", answered("Hello"), Judge(text), timeout=1) == reason


async def test_a_judge_sees_the_criterion_the_task_and_the_answer() -> None:
    judge = Judge("{}")
    await judged("is polite", answered("Hello"), judge, timeout=1)

    assert judge.request is not None
    question = str(judge.request.messages[-1]["content"])
    assert all(part in question for part in ("is polite", "the task", "Hello"))
