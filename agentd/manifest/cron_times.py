"""When a cron expression is due, found as the NATS server finds it.

All moments are whole or fractional seconds since the epoch. `wall` is what clocks of a zone show.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

# From the largest unit to the smallest, each with its first value.
_UNITS = (("month", 1), ("day", 1), ("hour", 0), ("minute", 0), ("second", 0))
_SECONDS = {"hour": 3600, "minute": 60, "second": 1}
_YEARS_AHEAD = 5  # the server searches no further


@dataclass(frozen=True)
class Cron:
    """A valid expression.

    Attributes:
        text: the expression with six fields, as the server needs it.
        values: the values that each field allows, sorted.
        both_days: whether a day must match both the day of the month and the day of the week.
            This is so if one of them is `*`. If both are restricted, one match is enough: that is
            the rule of cron.
    """

    text: str
    values: tuple[tuple[int, ...], ...]
    both_days: bool

    @property
    def every_hour(self) -> bool:
        return len(self.values[2]) == 24

    def next_after(self, moment: float, zone: tzinfo = UTC) -> int | None:
        """When the server sends next if it sent last at `moment`; None if never in five years.

        These are the steps of nats-server (`parseCron`, after the library robfig/cron), since they
        decide what is sent where clocks change. Hours, minutes and seconds are steps in time, but
        months and days are steps on the calendar. So a time that the clocks skip is not met, and
        one that they repeat is met twice. A step to a midnight that they skip leads to another
        hour, and what is due before that hour on the next day of the schedule is not met.
        """
        at = datetime.fromtimestamp(math.floor(moment + 0.5) + 1, zone)
        last_year = at.year + _YEARS_AHEAD
        level, aligned = 0, False
        while level < len(_UNITS):
            unit, first = _UNITS[level]
            if self._allows(at, unit):
                level += 1
                continue
            if not aligned:
                at, aligned = _begin(at, unit), True
            at = _step(at, unit)
            if getattr(at, unit) == first:
                level = 0  # a larger unit has changed: only then the server looks at it again
            if at.year > last_year:
                return None
        return int(at.timestamp())

    def next_of_schedule(self, stored: float, now: float, zone: tzinfo = UTC) -> int | None:
        """When the server sends next, `now`, if it has had the schedule since `stored`.

        The server counts from when it sent last. Where clocks change, that can be another time
        than one counted from now.
        """
        last = self.last_until(now, zone, since=stored)
        return self.next_after(stored if last is None else last, zone)

    def last_until(self, now: float, zone: tzinfo = UTC, *, since: float) -> int | None:
        """The last time after `since` and until `now` when it was due, if there is one."""

        def is_due(start: int) -> bool:
            found = self.next_after(max(start, since), zone)
            return found is not None and found <= now

        starts = range(math.floor(now), math.floor(since) - 1, -1)
        index = bisect.bisect_left(starts, True, key=is_due)
        return self.next_after(max(starts[index], since), zone) if index < len(starts) else None

    def _allows(self, at: datetime, unit: str) -> bool:
        seconds, minutes, hours, days, months, weekdays = self.values
        match unit:
            case "month":
                return at.month in months
            case "day":
                matches = (at.day in days, at.isoweekday() % 7 in weekdays)
                return all(matches) if self.both_days else any(matches)
            case "hour":
                return at.hour in hours
            case "minute":
                return at.minute in minutes
            case _:
                return at.second in seconds


def _begin(at: datetime, unit: str) -> datetime:
    """The beginning of the month, day, hour, minute or second that `at` is in."""
    wall = at.replace(tzinfo=None)
    match unit:
        case "month":
            return _moment(wall.replace(day=1, hour=0, minute=0, second=0), at.tzinfo)
        case "day":
            return _moment(wall.replace(hour=0, minute=0, second=0), at.tzinfo)
        case "hour":
            return _moment(wall.replace(minute=0, second=0), at.tzinfo)
        case _:
            seconds = at.timestamp()
            return datetime.fromtimestamp(seconds - seconds % _SECONDS[unit], at.tzinfo)


def _step(at: datetime, unit: str) -> datetime:
    """The same time in the next month or on the next day; or an hour, minute or second later."""
    wall = at.replace(tzinfo=None)
    match unit:
        case "month":
            first = (wall.replace(day=1) + timedelta(days=31)).replace(day=1)
            return _moment(first + timedelta(days=wall.day - 1), at.tzinfo)
        case "day":
            return _moment(wall + timedelta(days=1), at.tzinfo)
        case _:
            return datetime.fromtimestamp(at.timestamp() + _SECONDS[unit], at.tzinfo)


def _moment(wall: datetime, zone: tzinfo | None) -> datetime:
    """When clocks show `wall`; as in the language Go where they skip it or show it twice."""
    as_utc = wall.replace(tzinfo=UTC).timestamp()
    guess = datetime.fromtimestamp(as_utc, zone)
    for _ in range(2):
        offset = guess.utcoffset() or timedelta()
        guess = datetime.fromtimestamp(as_utc - offset.total_seconds(), zone)
    return guess
