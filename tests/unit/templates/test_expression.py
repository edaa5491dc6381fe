"""Expressions of a manifest: their values, their names and their limits."""

from __future__ import annotations

import pytest

from agentd.errors import PromptError
from agentd.templates.expression import InvalidExpression, compile_expression

CONTEXT = {"output": {"score": 0.6, "claims": ["a", "b"]}, "item": 3}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("output.score > 0.5", True),
        ("output.claims", ["a", "b"]),
        ("output.claims | length", 2),
        ("{'score': output.score, 'item': item}", {"score": 0.6, "item": 3}),
        ("output.nothing is defined", False),
    ],
)
def test_a_value_keeps_its_type(text: str, value: object) -> None:
    assert compile_expression(text, names=CONTEXT).evaluate(CONTEXT) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1 +", "ends too early"),
        ("item item", "`item` does not fit what stands before it"),
        ("item }} {{ item", "`}}` does not fit"),
        ("itme", "unknown name `itme`"),
        ("itme and item | nope", "there is no filter `nope`; unknown name `itme`"),
        (" {{ item > 1 }} ", "an expression has no `{{ }}`"),
        ("(" * 5000, "nested|unexpected|cannot be compiled"),
    ],
)
def test_an_invalid_expression_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidExpression, match=problem):
        compile_expression(text, names=CONTEXT)


def test_the_hint_is_the_nearest_name() -> None:
    with pytest.raises(InvalidExpression) as caught:
        compile_expression("itme", names=CONTEXT)
    assert "item" in caught.value.problems[0].hint


@pytest.mark.parametrize(
    "text", ["output.nothing", "'x' * 10 ** 9", "''.__class__", "range(10 ** 9) | list"]
)
def test_an_error_names_the_expression(text: str) -> None:
    expression = compile_expression(text, names=CONTEXT)
    with pytest.raises(PromptError) as caught:
        expression.evaluate(CONTEXT)
    assert str(caught.value).startswith(text)
