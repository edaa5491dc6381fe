"""Cron expressions as the server's message schedules take them (ADR-51, after robfig/cron).

Six fields, of which the first, the seconds, may be left out; or `@hourly` and its like. Stricter
than the server in what is surely a mistake, never laxer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import product

NAMED = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_PART = re.compile(r"(?:[*?]|(\w+)(?:-(\w+))?)(?:/(\d{1,4}))?", re.ASCII)
_AHEAD = 5 * 366  # days; the server looks no further for the next time


@dataclass(frozen=True)
class _Field:
    """What one field may say."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        if text.lower() in self.names:
            return self.low + self.names.index(text.lower())
        value = int(text) if re.fullmatch(r"\d{1,4}", text) else -1
        if not self.low <= value <= self.high:
            names = f", or {self.names[0]} to {self.names[-1]}" if self.names else ""
            mend = f"{self.low} to {self.high}{names}"
            if text == "7" and self.high == 6:
                mend = "Sunday is 0"
            raise ValueError(f"has no {self.name} `{text}`", mend)
        return value


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, tuple(_MONTHS)),
    _Field("day of the week", 0, 6, tuple(_DAYS)),
)


@dataclass(frozen=True)
class Cron:
    """An expression that was read.

    Attributes:
        text: in six fields, as the server wants it.
        values: what each field allows, in order.
        any_day: neither days of the month nor of the week narrow the other down; else a day that
            one of them allows is enough.
    """

    text: str
    values: tuple[tuple[int, ...], ...]
    any_day: bool

    def next_after(self, moment: datetime) -> datetime | None:
        """The first time after `moment`, in its zone; None where there is none for five years."""
        seconds, minutes, hours = self.values[:3]
        for days in range(_AHEAD):
            day = moment.date() + timedelta(days=days)
            if not self._on(day):
                continue
            for hour, minute, second in product(hours, minutes, seconds):
                found = datetime.combine(day, time(hour, minute, second), moment.tzinfo)
                if found > moment:
                    return found
        return None

    def _on(self, day: date) -> bool:
        of_month, months, of_week = self.values[3:]
        fits = (day.day in of_month, day.isoweekday() % 7 in of_week)
        return day.month in months and (all(fits) if self.any_day else any(fits))


def parse(text: str) -> Cron:
    """Reads an expression.

    Raises:
        ValueError: mistake and mend, as in `agentd.manifest.quantities`.
    """
    parts = NAMED.get(text, text).split()
    if text.startswith("@") and text not in NAMED:
        raise ValueError(f"has no `{text}`", f"there are {', '.join(NAMED)}")
    if len(parts) == len(_FIELDS) - 1:
        parts = ["0", *parts]
    if len(parts) != len(_FIELDS):
        mend = "minute, hour, day of the month, month, day of the week: 0 7 * * 1-5"
        raise ValueError(f"has {len(parts)} fields, not 5 or 6", mend)
    values = tuple(_values(field, part) for field, part in zip(_FIELDS, parts, strict=True))
    stars = [any(each in ("*", "?", "*/1", "?/1") for each in part.split(",")) for part in parts]
    cron = Cron(" ".join(parts), values, any_day=stars[3] or stars[5])
    if cron.next_after(datetime.now()) is None:
        raise ValueError("is never due", "no such day comes in the next five years")
    return cron


def _values(field: _Field, text: str) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            mend = "write *, 5, 1-5, */10 or 1,15"
            raise ValueError(f"has `{part}` as {field.name}", mend)
        first, last, step = match.groups()
        low = field.number(first) if first else field.low
        # `5/10` begins at 5 and goes on to the end.
        high = field.number(last) if last else low if first and not step else field.high
        if low > high:
            raise ValueError(f"has `{part}` as {field.name}", "a range goes from low to high")
        if step and int(step) == 0:
            raise ValueError(f"has `{part}` as {field.name}", "a step is at least 1")
        found.update(range(low, high + 1, int(step or 1)))
    return tuple(sorted(found))
