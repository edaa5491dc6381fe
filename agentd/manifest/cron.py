"""Cron expressions, checked before the NATS server sees them.

The format is that of the server's message schedules (ADR-51 of NATS, after the library
robfig/cron): six fields, of which the first, the seconds, may be left out; or `@hourly` and the
like. This parser is stricter than the server where an expression is surely an error, and never
accepts an expression that the server refuses.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from agentd.manifest.cron_times import Cron

# The names and their meanings are those of robfig/cron.
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
_WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_PART = re.compile(r"(?:[*?]|(\w+)(?:-(\w+))?)(?:/(\d{1,4}))?", re.ASCII)


@dataclass(frozen=True)
class _Field:
    """One field of an expression: its name and the values that it can have."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        """The value of a number or name, such as `5` or `mon`.

        Raises:
            ValueError: the field does not have this value.
        """
        if text.lower() in self.names:
            return self.low + self.names.index(text.lower())
        value = int(text) if re.fullmatch(r"\d{1,4}", text) else -1
        if not self.low <= value <= self.high:
            names = f", or {self.names[0]} to {self.names[-1]}" if self.names else ""
            hint = f"use {self.low} to {self.high}{names}"
            if text == "7" and self.high == 6:
                # Most cron programs take 7 for Sunday, but the NATS server does not.
                hint = "Sunday is 0"
            raise ValueError(f"has an invalid {self.name}: `{text}`", hint)
        return value


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, tuple(_MONTHS)),
    _Field("day of the week", 0, 6, tuple(_WEEKDAYS)),
)


def parse(text: str) -> Cron:
    """Reads an expression.

    Raises:
        ValueError: with problem and hint, as in `agentd.manifest.quantities`.
    """
    parts = NAMED.get(text, text).split()
    if text.startswith("@") and text not in NAMED:
        raise ValueError(f"has an unknown name: `{text}`", f"use one of {', '.join(NAMED)}")
    if len(parts) == len(_FIELDS) - 1:
        parts = ["0", *parts]
    if len(parts) != len(_FIELDS):
        hint = "write minute, hour, day of the month, month, day of the week: 0 7 * * 1-5"
        raise ValueError(f"has {len(parts)} fields instead of 5 or 6", hint)
    values = tuple(_values(field, part) for field, part in zip(_FIELDS, parts, strict=True))
    stars = [any(each in ("*", "?", "*/1", "?/1") for each in part.split(",")) for part in parts]
    cron = Cron(" ".join(parts), values, both_days=stars[3] or stars[5])
    if cron.next_after(time.time()) is None:
        raise ValueError("is never due", "there is no such day in the next five years")
    return cron


def _values(field: _Field, text: str) -> tuple[int, ...]:
    """The values that one field of an expression allows."""
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            hint = "write *, 5, 1-5, */10 or 1,15"
            raise ValueError(f"has an invalid {field.name}: `{part}`", hint)
        first, last, step = match.groups()
        low = field.number(first) if first else field.low
        # `5/10` starts at 5 and runs to the end of the field; a plain `5` is only 5.
        high = field.number(last) if last else low if first and not step else field.high
        if low > high:
            raise ValueError(
                f"has an invalid {field.name}: `{part}`", "a range runs from low to high"
            )
        if step and int(step) == 0:
            raise ValueError(f"has an invalid {field.name}: `{part}`", "a step is at least 1")
        found.update(range(low, high + 1, int(step or 1)))
    return tuple(sorted(found))
