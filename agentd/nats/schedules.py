"""Messages that the server publishes later: once, or repeatedly.

A schedule is a message in SCHEDULES, on its own subject. Its headers say when the server publishes
a copy and on which subject (ADR-51). The copy has the same body, and the headers that are not
NATS's. It is published below `due.`, and LOG copies it from there to the subject it is meant for.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from agentd.errors import Conflict, DecodeError
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.records import skipping
from agentd.nats.streams import SCHEDULES
from agentd.protocol.server_subjects import direct_get
from agentd.protocol.stream_subjects import due, not_due
from agentd.protocol.subjects import Subject, token

_WHEN, _TARGET, _ZONE = "Nats-Schedule", "Nats-Schedule-Target", "Nats-Schedule-Time-Zone"
_SCHEDULER, _NEXT = "Nats-Scheduler", "Nats-Schedule-Next"


@dataclass(frozen=True)
class Timing:
    """When a schedule is due.

    `pattern` is in the server's syntax: `@at …`, `@every …` or six cron fields. `zone` belongs to
    cron fields only.
    """

    pattern: str
    zone: str = "UTC"

    @classmethod
    def at(cls, moment: float) -> Timing:
        """Once, at a time in seconds since the epoch. If it is past, the server publishes now."""
        when = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
        return cls(f"@at {when.replace('+00:00', 'Z')}")

    @classmethod
    def every(cls, seconds: float) -> Timing:
        """Repeatedly, counted from when the server stored it: every second or less often."""
        return cls(f"@every {round(seconds * 1000)}ms")

    @property
    def moment(self) -> float | None:
        """When it is due, in seconds since the epoch; None if it is due repeatedly."""
        if not self.pattern.startswith("@at "):
            return None
        # In upper case: Python 3.11 does not accept a small "z", which RFC 3339 allows.
        return datetime.fromisoformat(self.pattern[4:].upper()).timestamp()

    @property
    def interval(self) -> float | None:
        """The seconds between two copies, if `every` made this."""
        ours = re.fullmatch(r"@every (\d{1,15})ms", self.pattern)
        return int(ours[1]) / 1000 if ours else None


@dataclass(frozen=True, kw_only=True)
class ScheduleEntry:
    """One schedule.

    Attributes:
        subject: where it is stored; another schedule on the subject replaces it.
        target: the subject of LOG that gets the copies: a task or an event, the server refuses
            others.
        headers: the headers of the copies. The server adds `Nats-Scheduler`, the subject of the
            schedule, and `Nats-Schedule-Next`, the time of the next copy.
        sequence: its sequence in SCHEDULES; 0 if it is not stored yet.
        stored: when the server stored it, in seconds since the epoch.
    """

    subject: str
    target: str
    data: bytes
    timing: Timing
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    sequence: int = 0
    stored: float = 0.0

    @property
    def all_headers(self) -> dict[str, str]:
        """The headers that make a message this schedule."""
        headers = {
            **self.headers,
            _WHEN: self.timing.pattern,
            _TARGET: due(self.target),
            # SCHEDULES deletes messages after a day, but a schedule may be due later than that.
            "Nats-TTL": "never",
        }
        return headers if self.timing.zone == "UTC" else {**headers, _ZONE: self.timing.zone}

    def same_as(self, other: ScheduleEntry) -> bool:
        """Whether both publish the same messages at the same times."""
        return self.all_headers == other.all_headers and self.data == other.data


async def put(bus: Bus, entry: ScheduleEntry) -> bool:
    """Stores a schedule; returns whether it is new or different.

    An equal one is not stored again: that would restart its interval.

    Raises:
        NotStored: the server refuses it, for its time zone for example.
        BusError: the server does not answer.
    """
    while True:
        existing = await find(bus, entry.subject)
        if existing is not None and existing.same_as(entry):
            return False
        try:
            await replace(bus, entry, existing)
        except Conflict:
            continue  # another process was faster; it may have written the same
        return True


async def replace(bus: Bus, entry: ScheduleEntry, existing: ScheduleEntry | None) -> None:
    """Stores a schedule in the place of the `existing` one.

    Raises:
        Conflict: another one is stored there.
        NotStored, BusError: as `put`.
    """
    after = existing.sequence if existing else 0
    await jetstream.replace(bus, entry.subject, entry.data, after=after, headers=entry.all_headers)


async def publish_now(bus: Bus, entry: ScheduleEntry) -> None:
    """Publishes the copy of a stored schedule and ends the schedule, in one step of the server.

    Raises:
        Conflict: the schedule has ended before, or was replaced.
        BusError: the server does not answer; it may have done both.
    """
    ending = {
        _SCHEDULER: entry.subject,
        _NEXT: "purge",
        "Nats-Expected-Last-Subject-Sequence-Subject": entry.subject,
    }
    # Without an id: LOG would drop the copy if anybody had stored a message under the same id.
    await jetstream.replace(
        bus,
        due(entry.target),
        entry.data,
        after=entry.sequence,
        headers={**entry.headers, **ending},
    )


async def announced(bus: Bus, entry: ScheduleEntry) -> float | None:
    """When the server sends a stored schedule next, as it said in the last copy; None if it has
    sent none within the day for which SCHEDULES keeps them.

    Raises:
        BusError: the server does not answer.
    """
    # Not `jetstream.last`: who may list schedules may ask in this way, too.
    wanted = json.dumps({"last_by_subj": due(entry.target)}).encode()
    headers = (await bus.request(direct_get(SCHEDULES), wanted)).headers or {}
    try:
        if headers[_SCHEDULER] != entry.subject or int(headers["Nats-Sequence"]) < entry.sequence:
            return None
        return datetime.fromisoformat(headers[_NEXT]).timestamp()
    except (KeyError, ValueError):  # `purge` is no time, after a schedule that was due once
        return None


def is_from_schedule(msg: Msg) -> bool:
    """Whether a message read from LOG was published by a schedule. LOG copies from SCHEDULES only,
    and the server refuses this header from a client."""
    return "Nats-Stream-Source" in (msg.headers or {})


async def remove(bus: Bus, subject: str) -> bool:
    """Removes a schedule; returns whether it existed.

    Raises:
        BusError: the server does not answer.
    """
    answer = await jetstream.api(bus, f"STREAM.PURGE.{SCHEDULES}", {"filter": subject})
    return bool(answer["purged"])


async def find(bus: Bus, subject: str) -> ScheduleEntry | None:
    """The schedule on this subject, if it exists.

    Raises:
        BusError: the server does not answer.
    """
    msg = await jetstream.last(bus, SCHEDULES, subject)
    if msg:
        with skipping(SCHEDULES, msg):
            return _entry(msg)
    return None


async def pending(bus: Bus, pattern: str) -> AsyncIterator[ScheduleEntry]:
    """The schedules whose subjects match `pattern`, oldest first.

    Raises:
        BusError: the server does not answer.
    """
    async for msg in jetstream.stored(bus, SCHEDULES, pattern):
        found = None
        with skipping(SCHEDULES, msg):
            found = _entry(msg)
        if found:
            yield found


def _entry(msg: Msg) -> ScheduleEntry:
    """The schedule that a message is.

    Raises:
        DecodeError, SubjectError, ValueError: it is none of agentd.
    """
    headers = msg.headers or {}
    subject = headers["Nats-Subject"]
    token(subject.rpartition(".")[2], "the name of a schedule")
    if missing := {_WHEN, _TARGET} - headers.keys():
        raise DecodeError(f"no schedule: it has no header {min(missing)}")
    timing = Timing(headers[_WHEN], headers.get(_ZONE, "UTC"))
    _ = timing.moment  # raises for a time that cannot be read
    return ScheduleEntry(
        subject=subject,
        target=str(Subject.parse(not_due(headers[_TARGET]))),
        data=msg.data,
        timing=timing,
        headers={k: v for k, v in headers.items() if not k.startswith("Nats-")},
        sequence=int(headers["Nats-Sequence"]),
        stored=datetime.fromisoformat(headers["Nats-Time-Stamp"]).timestamp(),
    )
