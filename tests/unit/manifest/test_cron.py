"""Cron expressions: what is read, what is refused and why, and the times they stand for."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from agentd.manifest.cron import parse

REFUSED = [
    ("* * *", "has 3 fields, not 5 or 6"),
    ("@often", "has no `@often`"),
    ("61 * * * *", "has no minute `61`"),
    ("0 24 * * *", "has no hour `24`"),
    ("0 0 0 * *", "has no day of the month `0`"),
    ("0 0 * foo *", "has no month `foo`"),
    ("0 0 * * 7", "has no day of the week `7`"),
    ("5-1 * * * *", "has `5-1` as minute"),
    ("*/0 * * * *", "has `*/0` as minute"),
    ("1,,2 * * * *", "has `` as minute"),
    ("*-5 * * * *", "has `*-5` as minute"),
    ("0 0 30 2 *", "is never due"),
]


@pytest.mark.parametrize(("text", "mistake"), REFUSED)
def test_a_mistake_is_named(text: str, mistake: str) -> None:
    with pytest.raises(ValueError, match=r"has|is") as caught:
        parse(text)
    assert caught.value.args[0] == mistake
    assert len(caught.value.args) == 2


@pytest.mark.parametrize(
    ("text", "after", "due"),
    [
        ("0 7 * * 1-5", "2026-11-20T07:00:00", "2026-11-23T07:00:00"),  # Friday to Monday
        ("*/15 9-17 * * mon-fri", "2026-11-23T17:45:00", "2026-11-24T09:00:00"),
        ("30 0 12 1 jan,JUL *", "2026-11-23T00:00:00", "2027-01-01T12:00:30"),
        ("5/20 * * * *", "2026-11-23T00:06:00", "2026-11-23T00:25:00"),
        ("@weekly", "2026-11-23T00:00:00", "2026-11-29T00:00:00"),
        ("0 0 29 2 *", "2026-11-23T00:00:00", "2028-02-29T00:00:00"),
        # Two restricted days: either is enough. A star: both must fit.
        ("0 0 1 * 5", "2026-11-23T00:00:00", "2026-11-27T00:00:00"),
        ("0 0 * * 5", "2026-11-23T00:00:00", "2026-11-27T00:00:00"),
    ],
)
def test_the_next_time(text: str, after: str, due: str) -> None:
    zone = ZoneInfo("Europe/Berlin")
    moment = datetime.fromisoformat(after).replace(tzinfo=zone)
    assert parse(text).next_after(moment) == datetime.fromisoformat(due).replace(tzinfo=zone)


def test_the_seconds_may_be_left_out() -> None:
    assert parse("0 7 * * 1-5").text == "0 0 7 * * 1-5"
    assert parse("@daily").text == "0 0 0 * * *"
