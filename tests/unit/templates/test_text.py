"""Texts with expressions: types of values, missing arguments, literal separators."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.errors import PromptError
from agentd.templates.expression import InvalidExpression
from agentd.templates.text import compile_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{{ a }}", [1, 2]),
        ("{{- a -}}", [1, 2]),
        ("x{{ a }}", "x[1, 2]"),
        ("{{ a }}{{ b }}", "[1, 2]null"),
        ("{{ '}}' }}!", "}}!"),
        ("{{ {'k': {'l': 1} } }}", {"k": {"l": 1}}),
        ("} }} {", "} }} {"),
    ],
)
def test_a_single_expression_keeps_its_type(text: str, value: Any) -> None:
    assert compile_text(text).value({"a": [1, 2], "b": None}) == value


def test_the_caller_chooses_how_values_are_written() -> None:
    assert compile_text("<{{ a }}>").text({"a": "b"}, str.upper) == "<B>"


def test_the_names_are_those_of_all_expressions() -> None:
    assert compile_text("{{ a }} {{ b.c | default(d) }}").names == {"a", "b", "d"}


@pytest.mark.parametrize(
    ("text", "lacks"),
    [
        ("x {{ city }}", True),
        ("{{ city | default('x') }}", False),
        ("{{ given }}", False),
        ("city", False),
    ],
)
def test_only_a_lone_name_counts_as_missing(text: str, lacks: bool) -> None:
    assert compile_text(text).lacks({"given": 1}) is lacks


def test_only_separators_in_literal_text_split_it() -> None:
    context = {"v": "p/q"}

    def parts(text: str, most: int = -1) -> list[str]:
        return [part.text(context) for part in compile_text(text).split("/", most)]

    assert parts("a/{{ v }}b//c") == ["a", "p/qb", "", "c"]
    assert parts("a/{{ v }}/c", 1) == ["a", "p/q/c"]
    assert parts("{{ v }}") == ["p/q"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a {{ b", "`{{` has no `}}`"),
        ("{% if a %}b{% endif %}", "a `{%` tag cannot stand here"),
        ("{{ b }}", "unknown name `b`"),
        ("{{ 1 + }}", "the expression ends too early"),
    ],
)
def test_an_invalid_text_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidExpression) as caught:
        compile_text(text, names=["a"])
    assert str(caught.value).startswith(problem)


def test_all_problems_of_a_text_have_their_line() -> None:
    with pytest.raises(InvalidExpression) as caught:
        compile_text("{{ b }}\n{{ a | nope }} {% if %} {{", names=["a"])
    found = [(problem.line, problem.word) for problem in caught.value.problems]
    assert found == [(1, "b"), (2, "nope"), (2, "{{"), (2, "{%")]


def test_an_expression_without_a_value_is_an_error() -> None:
    with pytest.raises(PromptError, match="'a' has no 'b'"):
        compile_text("x{{ a.b }}").text({"a": {}})
