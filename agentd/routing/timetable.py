"""Schedules for people: when the server sends them next, and what clock changes do to them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agentd.catalog.spec import AgentSpec
from agentd.manifest import cron
from agentd.manifest.clock_changes import Effect, effects
from agentd.manifest.schedule import Schedule
from agentd.nats.schedules import ScheduleEntry, Timing
from agentd.problems import Problem


def timing_of(schedule: Schedule) -> Timing:
    if schedule.every is not None:
        return Timing.every(schedule.every)
    assert schedule.cron is not None
    return Timing(schedule.cron, schedule.time_zone)


def in_words(timing: Timing) -> str:
    """A timing as it is shown to a person: `every 1h`, or the cron fields and the time zone."""
    if timing.interval is not None:
        return f"every {_short(timing.interval)}"
    return timing.pattern if timing.zone == "UTC" else f"{timing.pattern} ({timing.zone})"


def check(spec: AgentSpec, now: float) -> Iterator[Problem]:
    """A warning if clock changes of the coming year affect the schedule of an agent."""
    schedule = spec.manifest.schedule
    found = clock_changes(timing_of(schedule), now) if schedule else []
    if schedule and found:
        times = ", ".join(f"{each.wall:%Y-%m-%d %H:%M} is {each.kind}" for each in found)
        text = f"clock changes of {schedule.time_zone} affect the schedule: {times}"
        hint = "if that matters, choose a time when no clock changes; UTC has no clock changes"
        yield spec.problem("schedule", "cron", text=text, hint=hint, severity="warning")


def next_time(entry: ScheduleEntry, announced: float | None, now: float) -> datetime | None:
    """When the server sends a schedule next; None if it cannot be known here.

    It is in the time zone of the cron fields. Other schedules have none: theirs is that of this
    machine. `announced` is what the server said when it sent last.
    """
    zone = _zone(entry.timing)
    found = entry.timing.moment
    if found is None:
        found = _counted(entry, zone, now) if announced is None or announced < now else announced
    try:
        return None if found is None else datetime.fromtimestamp(found, UTC).astimezone(zone)
    except (ValueError, OverflowError, OSError):  # after the year 9999
        return None


def clock_changes(timing: Timing, now: float) -> list[Effect]:
    """What the clock changes of the coming year do to a schedule."""
    zone = _zone(timing)
    try:
        return list(effects(cron.parse(timing.pattern), zone, now)) if zone else []
    except ValueError:
        return []


def _counted(entry: ScheduleEntry, zone: tzinfo | None, now: float) -> float | None:
    """The next time, counted from when the server stored the schedule.

    An interval cannot be counted further than once: it begins anew after a crash of the server.
    Other programs write patterns and time zones that this machine may not know.
    """
    if entry.timing.interval is not None:
        first = round(entry.stored) + entry.timing.interval
        return first if first >= now else None
    try:
        fields = cron.parse(entry.timing.pattern)
    except ValueError:
        return None
    return fields.next_of_schedule(entry.stored, now, zone) if zone else None


def _zone(timing: Timing) -> tzinfo | None:
    """The time zone of cron fields, if this machine knows it."""
    if timing.pattern.startswith(("@at ", "@every ")):
        return None
    try:
        return ZoneInfo(timing.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones is no file
        return None


def _short(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:g}s"
