"""Filters and tests: values as text, and the sizes that filters check in advance."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from agentd.errors import PromptError
from agentd.templates import filters
from agentd.templates.bounds import MAX_SIZE, BoundExceeded
from agentd.templates.filters import as_text, kind
from agentd.templates.prompts import PromptLibrary

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def render(template: str, content: Any = None) -> str:
    return PromptLibrary({}).compile_text(template, "t.md").render({"content": content})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ({"a": [1, "ü", None]}, '{"a": [1, "ü", null]}'),
        ((1, 2.5), "[1, 2.5]"),
        (True, "true"),
        (None, "null"),
        (-3, "-3"),
        (date(2026, 3, 1), "2026-03-01"),
        ({"at": NOW}, '{"at": "2026-03-01 12:30:00+00:00"}'),
    ],
)
def test_values_are_written_as_text_or_json(value: Any, text: str) -> None:
    assert as_text(value) == text
    assert render("{{ content }}", content=value) == text
    assert render("{{ '' ~ content }}", content=value) == text
    assert render("{{ [content] | join }}", content=value) == text


def test_json_is_not_escaped_for_html() -> None:
    assert render("{{ content | tojson }}", content="<a href='x'>&") == "\"<a href='x'>&\""
    assert render("{{ content | tojson(indent=2) }}", content={"a": 1}) == '{\n  "a": 1\n}'


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a", "text"),
        (True, "a number"),
        (None, "null"),
        ({}, "a mapping"),
        ((), "a list"),
        (timedelta(1), "a date"),
        (len, "a function"),
        (range(3), "a range"),
    ],
)
def test_a_kind_is_in_words_for_people(value: Any, words: str) -> None:
    assert kind(value) == words


def test_a_value_that_is_not_data_or_is_too_large_has_no_text() -> None:
    with pytest.raises(BoundExceeded, match=r"cannot write a function as text; call it with \(\)"):
        as_text([len])
    with pytest.raises(BoundExceeded, match="the limit is"):
        as_text(["x" * MAX_SIZE])


@pytest.mark.parametrize("name", ["attr", "safe", "random", "wordwrap", "urlize", "pprint"])
def test_unsafe_and_unbounded_filters_of_jinja_are_missing(name: str) -> None:
    assert name not in filters.filters()


def test_tests_that_ask_for_code_are_missing() -> None:
    assert "mapping" in filters.tests()
    assert not {"callable", "filter", "test", "escaped"} & filters.tests().keys()


@pytest.mark.parametrize(
    ("filter_", "size"),
    [
        ("center(1000001)", "1,000,001"),
        ("replace('a', 'x' * 999999)", "2,999,997"),
        ("list | join('x' * 999999)", "2,999,997"),
        ("list | batch(99999)", "1,599,984"),
    ],
)
def test_the_size_of_a_result_is_checked_before_it_is_made(filter_: str, size: str) -> None:
    with pytest.raises(PromptError, match=f"needs a value of {size} characters"):
        render("{{ content | " + filter_ + " }}", "aaa")


def test_escaped_data_cannot_close_a_tag() -> None:
    assert render("<a>{{ content | e }}</a>", "</a>'\"&") == "<a>&lt;/a&gt;&#39;&#34;&amp;</a>"


def test_a_sum_adds_numbers_only() -> None:
    assert render("{{ content | sum }}", [1, 2.5]) == "3.5"
    with pytest.raises(PromptError, match="'sum' adds numbers only; use 'join' for text"):
        render("{{ content | sum(start='') }}", ["a"])
