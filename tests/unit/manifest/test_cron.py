"""Cron expressions: what is refused and why."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agentd.manifest.cron import parse

REFUSED = [
    ("* * *", "has 3 fields instead of 5 or 6"),
    ("* * * * * * *", "has 7 fields instead of 5 or 6"),
    ("@often", "has an unknown name: `@often`"),
    ("61 * * * *", "has an invalid minute: `61`"),
    ("60 * * * * *", "has an invalid second: `60`"),
    ("0 24 * * *", "has an invalid hour: `24`"),
    ("0 0 0 * *", "has an invalid day of the month: `0`"),
    ("0 0 * 13 *", "has an invalid month: `13`"),
    ("0 0 * foo *", "has an invalid month: `foo`"),
    ("0 0 * * 7", "has an invalid day of the week: `7`"),
    ("5-1 * * * *", "has an invalid minute: `5-1`"),
    ("*/0 * * * *", "has an invalid minute: `*/0`"),
    ("1,,2 * * * *", "has an invalid minute: ``"),
    ("*-5 * * * *", "has an invalid minute: `*-5`"),
    ("0 0 30 2 *", "is never due"),
]


@pytest.mark.parametrize(("text", "problem"), REFUSED)
def test_an_invalid_expression_is_refused_with_a_hint(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"has|is") as refused:
        parse(text)
    found, hint = refused.value.args
    assert found == problem
    assert hint


def test_the_hint_names_the_values_of_the_field() -> None:
    for text, hint in (
        ("0 0 * foo *", "use 1 to 12, or jan to dec"),
        ("0 0 32 * *", "use 1 to 31"),
        ("0 0 * * 7", "Sunday is 0"),
        ("0 0 * * 8", "use 0 to 6, or sun to sat"),
        ("0 0 * 7x *", "use 1 to 12, or jan to dec"),
        ("a-b-c * * * *", "write *, 5, 1-5, */10 or 1,15"),
        ("5-1 * * * *", "a range runs from low to high"),
        ("*/0 * * * *", "a step is at least 1"),
    ):
        with pytest.raises(ValueError, match="invalid") as refused:
            parse(text)
        assert refused.value.args[1] == hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            "@often",
            "use one of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly",
        ),
        (
            "* * *",
            "write minute, hour, day of the month, month, day of the week: 0 7 * * 1-5",
        ),
        ("0 0 30 2 *", "there is no such day in the next five years"),
    ],
)
def test_the_hint_says_how_an_expression_is_written(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=r"has|is") as refused:
        parse(text)
    assert refused.value.args[1] == hint


@pytest.mark.parametrize("star", ["*", "?", "*/1", "?/1", "5,*"])
def test_a_star_in_one_of_the_days_leaves_both_to_match(star: str) -> None:
    friday = parse(f"0 0 {star} * 5")
    assert friday.both_days
    monday = datetime(2026, 11, 23, tzinfo=UTC).timestamp()
    assert friday.next_after(monday) == datetime(2026, 11, 27, tzinfo=UTC).timestamp()
    assert parse(f"0 0 1 * {star}".replace("5,*", "1,*")).both_days
    assert not parse("0 0 1 * 5").both_days
    assert not parse("0 0 */2 * 5").both_days


def test_an_expression_always_gets_six_fields() -> None:
    assert parse("0 7 * * 1-5").text == "0 0 7 * * 1-5"
    assert parse("@daily").text == "0 0 0 * * *"
