"""What clock changes do to schedules."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from agentd.manifest.clock_changes import effects
from agentd.manifest.cron import parse

START = datetime(2024, 12, 1, tzinfo=UTC).timestamp()  # of the past: zones keep their rules


@pytest.mark.parametrize(
    ("text", "zone", "found"),
    [
        (
            "30 2 * * *",
            "Europe/Berlin",
            ["2025-03-30 02:30 left out", "2025-10-26 02:30 sent twice"],
        ),
        (
            "*/20 2-4 * * *",
            "Europe/Berlin",
            ["2025-03-30 02:00 left out", "2025-10-26 02:00 sent twice"],
        ),
        ("30 2 * * *", "America/New_York", ["2025-03-09 02:30 left out"]),
        ("30 1 * * *", "America/New_York", ["2025-11-02 01:30 sent twice"]),
        ("30 1 * * *", "Africa/Casablanca", []),
        (
            "30 2 * * *",
            "Africa/Casablanca",
            ["2025-02-23 02:30 sent twice", "2025-04-06 02:30 left out"],
        ),
        # Not at the change itself; see `Cron.next_after`.
        ("0 9 * * 1-5", "America/Santiago", ["2025-09-08 09:00 left out"]),
        (
            "0 2 * * 6",
            "America/Santiago",
            ["2025-09-07 02:00 sent in addition", "2025-09-13 02:00 left out"],
        ),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            ["2025-04-06 01:45 sent twice", "2025-10-05 02:45 sent in addition"],
        ),
        (
            "0 10 * * *",
            "Australia/Lord_Howe",
            ["2025-04-06 10:00 left out", "2025-10-05 10:00 left out"],
        ),
        # Not affected.
        ("0 7 * * 1-5", "Europe/Berlin", []),
        ("30 2 * * 1", "Europe/Berlin", []),
        ("*/15 * * * *", "Europe/Berlin", []),
        ("30 2 * * *", "UTC", []),
        ("30 2 * * *", "Asia/Tokyo", []),
        ("0 0 29 2 *", "Europe/Berlin", []),
    ],
)
def test_the_first_time_that_each_change_affects(text: str, zone: str, found: list[str]) -> None:
    shown = [
        f"{each.wall:%Y-%m-%d %H:%M} {each.kind}"
        for each in effects(parse(text), ZoneInfo(zone), START)
    ]
    assert shown == found
