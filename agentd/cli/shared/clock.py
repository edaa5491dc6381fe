"""Times for people: one form in all lists and answers."""

from __future__ import annotations

from datetime import datetime


def clock(moment: float) -> str:
    """A time in seconds since the epoch as `17:03:11`, with its date if that is not today.

    In the time zone of the machine, like the log.
    """
    local = datetime.fromtimestamp(moment).astimezone()
    today = local.date() == datetime.now().astimezone().date()
    return f"{local:%H:%M:%S}" if today else f"{local:%Y-%m-%d %H:%M:%S}"
