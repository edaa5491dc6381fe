"""Durations, rates, names, topics and patterns: what is read, and what is refused with a hint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, ValidationError

from agentd.manifest.quantities import (
    Rate,
    allowance,
    as_list,
    emission_pattern,
    fact_pattern,
    no_duplicates,
    not_empty,
    one_of_types,
    seconds,
    subject_name,
    topic,
)
from agentd.manifest.rate import Allowance


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("500ms", 0.5),
        ("120s", 120.0),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("1d", 86400.0),
        ("1.5 s", 1.5),
        (90, 90.0),
        (0.25, 0.25),
        ("30d", 2_592_000.0),
    ],
)
def test_a_duration_is_read_in_seconds(written: object, expected: float) -> None:
    assert seconds(written) == expected


@pytest.mark.parametrize(
    "written", ["5", "5 sec", "s", "-1s", "1h30m", " 1s", "1e3s", "9" * 10 + "s", True, None, [1]]
)
def test_another_duration_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="must be a duration") as refused:
        seconds(written)
    assert refused.value.args == ("must be a duration", "write 500ms, 120s, 2m or 1h")


@pytest.mark.parametrize("written", [0, "0s", -1, "31d", 2_592_000.1, float("inf"), float("nan")])
def test_a_duration_is_more_than_zero_and_at_most_30_days(written: object) -> None:
    with pytest.raises(ValueError, match="must be more") as refused:
        seconds(written)
    assert refused.value.args == ("must be more than 0 and at most 30 days", "")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("5/s", Allowance(5, 1.0)),
        ("60/min", Allowance(60, 60.0)),
        ("100 / h", Allowance(100, 3600.0)),
        ("1000/day", Allowance(1000, 86400.0)),
    ],
)
def test_a_rate_is_a_count_and_a_period(written: str, expected: Allowance) -> None:
    assert allowance(written) == expected


@pytest.mark.parametrize("written", ["60", "60/m", "0/s", "1.5/s", "/s", "9" * 10 + "/s", 60, None])
def test_another_rate_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="must be a rate") as refused:
        allowance(written)
    assert refused.value.args == ("must be a rate", "write 60/min, 5/s or 1000/day")


@pytest.mark.parametrize("name", ["a", "A-Z_09", "x" * 64])
def test_a_name_is_a_token_of_a_subject(name: str) -> None:
    assert subject_name(name) == name


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("", ("must be 1 to 64 of A-Z a-z 0-9 _ -", "")),
        ("x" * 65, ("must be 1 to 64 of A-Z a-z 0-9 _ -", "")),
        ("a b", ("must be 1 to 64 of A-Z a-z 0-9 _ -", "")),
        ("a.b", ("must be 1 to 64 of A-Z a-z 0-9 _ -", "write only the domain, without a dot")),
        ("_a", ("must not begin with _", "such names are reserved for agentd")),
    ],
)
def test_another_name_is_refused(name: str, args: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="must") as refused:
        subject_name(name)
    assert refused.value.args == args


@pytest.mark.parametrize(
    ("check", "problem", "accepted", "refused"),
    [
        (
            topic,
            "must be `domain.specificity`",
            ["a.b", "A-1.b_2"],
            ["a", "a.b.c", "a.*", ".b", "a."],
        ),
        (
            fact_pattern,
            "must be `result.` or `event.` and two more parts",
            ["result.a.b", "event.*.b", "result.a.*", "event.*.*"],
            ["task.a.b", "result.a", "result.a.b.c", "event.a.>", "event.a*.b", "result..b"],
        ),
        (
            emission_pattern,
            "must be `task.` or `event.` and two more parts",
            ["task.a.b", "event.*.b", "task.a.*"],
            ["result.a.b", "task.a", "event.a.b.c", "task.a.>"],
        ),
    ],
)
def test_topics_and_patterns_have_a_fixed_number_of_parts(
    check: Callable[[str], str], problem: str, accepted: list[str], refused: list[str]
) -> None:
    assert [check(each) for each in accepted] == accepted
    for each in refused:
        with pytest.raises(ValueError, match="must be") as error:
            check(each)
        found, hint = error.value.args
        assert found == problem
        assert hint.startswith("for example ")


def test_the_first_duplicate_is_named() -> None:
    assert no_duplicates(("a", "b")) == ("a", "b")
    with pytest.raises(ValueError, match="twice") as refused:
        no_duplicates(("a", "b", "b", "a"))
    assert refused.value.args == ("has `b` twice", "remove one")


def test_an_empty_list_is_refused() -> None:
    assert not_empty(("a",)) == ("a",)
    with pytest.raises(ValueError, match="empty") as refused:
        not_empty(())
    assert refused.value.args == ("is empty", "")


def test_a_value_of_another_type_is_one_problem_in_words() -> None:
    adapter = TypeAdapter(Annotated[Any, one_of_types("a text or a number", str, int)])
    assert [adapter.validate_python(each) for each in ("a", 1)] == ["a", 1]
    with pytest.raises(ValidationError) as refused:
        adapter.validate_python([1])
    [error] = refused.value.errors()
    assert error.get("ctx", {})["error"].args == ("must be a text or a number", "")


def test_the_schema_of_a_quantity_says_how_it_is_written() -> None:
    schema = TypeAdapter(Rate).json_schema()
    assert schema == {
        "title": "rate",
        "type": "string",
        "pattern": r"^([0-9]{1,9})\s?/\s?(s|min|h|day)$",
    }


def test_a_text_alone_becomes_a_list() -> None:
    assert as_list("a") == ["a"]
    assert as_list(["a", "b"]) == ["a", "b"]
    assert as_list(None) is None
