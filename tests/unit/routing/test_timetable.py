"""Schedules as people are shown them: in words, when they are sent next, and clock changes."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentd.catalog.catalog import load
from agentd.nats.schedules import ScheduleEntry, Timing
from agentd.routing.timetable import check, clock_changes, in_words, next_time

NOW = datetime(2026, 10, 25, 0, 45, tzinfo=UTC).timestamp()  # 02:45 in Berlin, the first time
NIGHTLY = Timing("0 30 2 * * *", "Europe/Berlin")


def shown(
    timing: Timing, *, stored: float = NOW - 86400, announced: float | None = None
) -> str | None:
    entry = ScheduleEntry(subject="", target="", data=b"", timing=timing, stored=stored)
    found = next_time(entry, announced, NOW)
    return found and found.isoformat(timespec="seconds")


@pytest.mark.parametrize(
    ("timing", "words"),
    [
        (Timing.every(3600), "every 1h"),
        (Timing.every(90), "every 90s"),
        (Timing.every(1.5), "every 1.5s"),
        (Timing.every(2 * 86400), "every 2d"),
        (Timing("0 0 7 * * 1-5"), "0 0 7 * * 1-5"),
        (Timing("@every 1h30m"), "@every 1h30m"),
        (Timing("0 0 7 * * 1-5", "Asia/Tokyo"), "0 0 7 * * 1-5 (Asia/Tokyo)"),
    ],
)
def test_a_timing_in_words(timing: Timing, words: str) -> None:
    assert in_words(timing) == words


def test_a_message_for_later_is_due_at_its_time() -> None:
    entry = ScheduleEntry(subject="", target="", data=b"", timing=Timing.at(5))
    found = next_time(entry, None, NOW)
    assert found
    assert found.timestamp() == 5
    assert found.utcoffset() == datetime.fromtimestamp(5).astimezone().utcoffset()


def test_cron_fields_are_due_in_their_time_zone() -> None:
    assert shown(NIGHTLY) == "2026-10-25T02:30:00+01:00"
    assert shown(Timing("0 0 7 * * *")) == "2026-10-25T07:00:00+00:00"


def test_what_the_server_said_counts_while_it_is_to_come() -> None:
    assert shown(NIGHTLY, announced=NOW + 7200) == "2026-10-25T03:45:00+01:00"
    assert shown(NIGHTLY, announced=NOW - 1) == "2026-10-25T02:30:00+01:00"
    weekly = shown(Timing("0 0 7 * * 1", "No/Where"), announced=NOW + 60)
    assert weekly
    assert datetime.fromisoformat(weekly).timestamp() == NOW + 60


def test_an_interval_is_counted_once_and_then_as_the_server_said() -> None:
    first = shown(Timing.every(60), stored=NOW - 20.4)
    assert first
    assert datetime.fromisoformat(first).timestamp() == NOW + 40
    assert shown(Timing.every(60), stored=NOW - 100) is None
    assert shown(Timing.every(60), stored=NOW - 100, announced=NOW + 20)


@pytest.mark.parametrize(
    "timing",
    [
        Timing("0 0 7 * * *", "No/Where"),
        Timing("0 0 7 * * *", "Europe"),  # a folder
        Timing("0 0 7 * * *", "../etc"),
        Timing("*-5 0 7 * * *", "Europe/Berlin"),
        Timing("@every 1h30m"),
        Timing("@every 999999999999999ms"),  # after the year 9999
    ],
)
def test_nothing_is_known_of_what_only_other_programs_write(timing: Timing) -> None:
    assert shown(timing) is None
    assert clock_changes(timing, NOW) == []


def test_clock_changes_of_the_coming_year_belong_to_cron_fields() -> None:
    assert [each.kind for each in clock_changes(NIGHTLY, NOW)] == ["sent twice", "left out"]
    assert clock_changes(Timing.every(60), NOW) == []
    assert clock_changes(Timing.at(5), NOW) == []


@pytest.mark.parametrize(
    ("schedule", "found"),
    [
        (
            '{cron: "30 2 * * *", time_zone: Europe/Berlin, task: x}',
            "clock changes of Europe/Berlin affect the schedule: 2026-10-25 02:30 is sent twice, "
            "2027-03-28 02:30 is left out",
        ),
        ('{cron: "30 2 * * *", task: x}', None),
        ('{cron: "30 4 * * *", time_zone: Europe/Berlin, task: x}', None),
        ("{every: 1h, task: x}", None),
    ],
)
def test_a_schedule_is_warned_of_that_clock_changes_affect(
    tmp_path: Path, schedule: str, found: str | None
) -> None:
    (tmp_path / "night.yaml").write_text(
        f"description: x\ncapabilities: [x]\ninstructions: x\nschedule: {schedule}\n"
    )
    catalog = load(tmp_path)
    problems = list(check(catalog.agents["night"], NOW))
    assert [each.text for each in problems] == ([found] if found else [])
    assert all((each.line, each.severity) == (4, "warning") for each in problems)


def test_an_agent_without_a_schedule_is_not_warned_of(tmp_path: Path) -> None:
    (tmp_path / "night.yaml").write_text("description: x\ncapabilities: [x]\ninstructions: x\n")
    assert not list(check(load(tmp_path).agents["night"], time.time()))
