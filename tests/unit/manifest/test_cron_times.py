"""When cron expressions are due, also where clocks change.

tests/integration/test_schedules.py compares the same steps with the server.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from agentd.manifest.cron import parse


def times(text: str, zone: str, after: str, count: int) -> list[str]:
    """What is due next, one after the other, in the time of the zone."""
    found: list[str] = []
    moment: float | None = moment_of(after, zone)
    for _ in range(count):
        moment = parse(text).next_after(moment or 0, ZoneInfo(zone))
        assert moment is not None
        found.append(datetime.fromtimestamp(moment, ZoneInfo(zone)).isoformat(timespec="minutes"))
    return found


def moment_of(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("text", "after", "due"),
    [
        ("0 7 * * 1-5", "2026-11-20T07:00:00", "2026-11-23T07:00:00"),  # Friday to Monday
        ("*/15 9-17 * * mon-fri", "2026-11-23T17:45:00", "2026-11-24T09:00:00"),
        ("30 0 12 1 jan,JUL *", "2026-11-23T00:00:00", "2027-01-01T12:00:30"),
        ("5/20 * * * *", "2026-11-23T00:06:00", "2026-11-23T00:25:00"),
        ("@weekly", "2026-11-23T00:00:00", "2026-11-29T00:00:00"),
        ("0 0 29 2 *", "2026-11-23T00:00:00", "2028-02-29T00:00:00"),
        # If both days are restricted, one match is enough. If one is a star, both must match.
        ("0 0 1 * 5", "2026-11-23T00:00:00", "2026-11-27T00:00:00"),
        ("0 0 * * 5", "2026-11-23T00:00:00", "2026-11-27T00:00:00"),
        ("0 0 1 * *", "2026-11-23T00:00:00", "2026-12-01T00:00:00"),
        ("0 0 1 * *", "2026-12-01T00:00:00", "2027-01-01T00:00:00"),
        ("59 59 23 31 12 *", "2026-12-31T23:59:58", "2026-12-31T23:59:59"),
    ],
)
def test_the_next_time_is_the_first_that_all_fields_allow(text: str, after: str, due: str) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    found = parse(text).next_after(moment_of(after, "Europe/Berlin"), berlin)
    assert found == moment_of(due, "Europe/Berlin")


def test_a_fraction_of_a_second_is_rounded_as_the_server_does() -> None:
    secondly = parse("* * * * * *")
    assert [secondly.next_after(moment) for moment in (10.0, 10.49, 10.5, 10.9)] == [11, 11, 12, 12]


def test_an_expression_without_a_day_in_five_years_has_no_next_time() -> None:
    leap_day = parse("0 0 29 2 *")
    # 2100 is no leap year, so the day after 2096 comes in 2104.
    assert leap_day.next_after(moment_of("2096-03-01")) is None
    assert leap_day.next_after(moment_of("2099-03-01")) == moment_of("2104-02-29")


@pytest.mark.parametrize(
    ("text", "zone", "after", "due"),
    [
        # The clocks go from 02:00 to 03:00.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T00:00",
            ["2026-03-28T02:30+01:00", "2026-03-30T02:30+02:00"],
        ),
        (
            "30 */2 * * *",
            "America/New_York",
            "2026-03-08T00:00",
            ["2026-03-08T00:30-05:00", "2026-03-08T04:30-04:00"],
        ),
        # They go from 03:00 back to 02:00.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-25T00:00",
            ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00", "2026-10-26T02:30+01:00"],
        ),
        (
            "59 1,3 * * *",
            "America/New_York",
            "2026-11-01T00:00",
            ["2026-11-01T01:59-04:00", "2026-11-01T01:59-05:00", "2026-11-01T03:59-05:00"],
        ),
        # Every half hour goes on evenly.
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-03-29T01:00",
            ["2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00"],
        ),
        # They go from 24:00 to 01:00: the server steps over a Monday, and over a whole month.
        (
            "0 9 * * 1-5",
            "America/Santiago",
            "2026-09-03T12:00",
            ["2026-09-04T09:00-04:00", "2026-09-08T09:00-03:00", "2026-09-09T09:00-03:00"],
        ),
        (
            "0 2 1 * *",
            "America/Santiago",
            "2026-08-31T00:00",
            ["2026-09-01T02:00-04:00", "2026-11-01T02:00-03:00"],
        ),
        # And it does not look at the day again in the night from Saturday to Sunday.
        (
            "0 2 * * 6",
            "America/Santiago",
            "2026-09-05T00:00",
            ["2026-09-05T02:00-04:00", "2026-09-06T02:00-03:00", "2026-09-19T02:00-03:00"],
        ),
        # A step to the midnight that does not exist leads to 01:00 where clocks are ahead of UTC.
        (
            "30 0 * * 1",
            "Africa/Cairo",
            "2026-04-20T00:00",
            ["2026-04-20T00:30+02:00", "2026-05-04T00:30+03:00"],
        ),
        # They go back by half an hour, at 02:00.
        (
            "0 10 * * *",
            "Australia/Lord_Howe",
            "2026-04-03T12:00",
            ["2026-04-04T10:00+11:00", "2026-04-06T10:00+10:30"],
        ),
    ],
)
def test_clock_changes_count_as_they_do_for_the_server(
    text: str, zone: str, after: str, due: list[str]
) -> None:
    assert times(text, zone, after, len(due)) == due


class TestSchedules:
    """A schedule of weekdays at nine, of a zone in which the server steps over a Monday."""

    weekdays = parse("0 9 * * 1-5")
    santiago = ZoneInfo("America/Santiago")

    def next_of(self, stored: str, now: str) -> datetime:
        found = self.weekdays.next_of_schedule(
            moment_of(stored, self.santiago.key), moment_of(now, self.santiago.key), self.santiago
        )
        assert found
        return datetime.fromtimestamp(found, self.santiago).replace(tzinfo=None)

    @pytest.mark.parametrize("now", ["2026-09-04T09:00:00", "2026-09-06T12:00", "2026-09-07T08:00"])
    def test_the_next_time_counts_from_when_the_server_sent_last(self, now: str) -> None:
        assert self.next_of("2026-01-01", now) == datetime(2026, 9, 8, 9)

    def test_the_next_time_counts_from_when_the_server_stored_it(self) -> None:
        assert self.next_of("2026-09-05T12:00", "2026-09-07T08:00") == datetime(2026, 9, 8, 9)
        assert self.next_of("2026-09-07T07:00", "2026-09-07T08:00") == datetime(2026, 9, 7, 9)

    def test_a_time_before_the_schedule_was_stored_is_none_of_its_times(self) -> None:
        stored = moment_of("2026-09-04T09:00:01")
        assert self.weekdays.last_until(stored + 3600, since=stored) is None
        assert self.weekdays.last_until(stored + 3600, since=stored - 2) == stored - 1

    def test_the_last_of_very_many_times_is_found(self) -> None:
        noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
        secondly = parse("* * 3 * * *")
        last = secondly.last_until(noon.timestamp(), since=(noon - timedelta(365)).timestamp())
        assert last == moment_of("2026-06-01T03:59:59")
