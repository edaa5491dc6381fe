"""Messages that the server publishes later: once, or again and again.

A schedule is a message of LOG with a subject of its own and headers that say when it is due and
where a copy goes then (ADR-51). The copy has the body and the headers that are not NATS's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from agentd.errors import Conflict
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.jetstream import Record
from agentd.nats.streams import LOG

_WHEN, _TARGET, _ZONE = "Nats-Schedule", "Nats-Schedule-Target", "Nats-Schedule-Time-Zone"


@dataclass(frozen=True)
class Timing:
    """When a schedule is due, in the server's words; `zone` goes with cron fields only."""

    pattern: str
    zone: str = "UTC"

    @classmethod
    def at(cls, moment: float) -> Timing:
        """Once, at a time in seconds since the epoch; what is past is due now."""
        when = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
        return cls(f"@at {when.replace('+00:00', 'Z')}")

    @classmethod
    def every(cls, seconds: float) -> Timing:
        """Again and again, counted from when the server got it: 1 second or more."""
        return cls(f"@every {round(seconds * 1000)}ms")

    @property
    def moment(self) -> float | None:
        """When it is due, in seconds since the epoch; None for what is due again and again."""
        if not self.pattern.startswith("@at "):
            return None
        return datetime.fromisoformat(self.pattern[4:].upper()).timestamp()


@dataclass(frozen=True, kw_only=True)
class ScheduleEntry:
    """One schedule.

    Attributes:
        subject: where it is kept; another schedule on it replaces this one.
        target: where copies are published: a subject of LOG.
        headers: those that the copies get; the server adds `Nats-Scheduler`, the schedule's
            subject, and `Nats-Schedule-Next`, the time of the next copy.
        sequence: its place in LOG; 0 for one that is not stored yet.
    """

    subject: str
    target: str
    data: bytes
    timing: Timing
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    sequence: int = 0

    @property
    def all_headers(self) -> dict[str, str]:
        """What a message must say to be this schedule."""
        headers = {
            **self.headers,
            _WHEN: self.timing.pattern,
            _TARGET: self.target,
            # The log forgets what is older than a month; this is forgotten when it is done.
            "Nats-TTL": "never",
        }
        return headers if self.timing.zone == "UTC" else {**headers, _ZONE: self.timing.zone}

    @property
    def ending(self) -> dict[str, str]:
        """The headers of a message that is stored only if this schedule is still there, and ends
        it in the same moment; else storing it raises Conflict."""
        return {
            "Nats-Scheduler": self.subject,
            "Nats-Schedule-Next": "purge",
            "Nats-Expected-Last-Subject-Sequence": str(self.sequence),
            "Nats-Expected-Last-Subject-Sequence-Subject": self.subject,
        }

    def record(self, message_id: str) -> Record:
        """This schedule as a record, to be stored together with others."""
        return Record(
            subject=self.subject, data=self.data, message_id=message_id, headers=self.all_headers
        )

    def says(self, other: ScheduleEntry) -> bool:
        """Whether both do the same."""
        return self.all_headers == other.all_headers and self.data == other.data


async def put(bus: Bus, entry: ScheduleEntry) -> bool:
    """Makes this the schedule of its subject; whether it was not.

    What is there already is left alone: written anew, an interval would begin again.

    Raises:
        NotStored: the server does not take it, a time zone for example.
        BusError: no answer.
    """
    while True:
        there = await find(bus, entry.subject)
        if there is not None and there.says(entry):
            return False
        after = there.sequence if there else 0
        try:
            await jetstream.replace(
                bus, entry.subject, entry.data, after=after, headers=entry.all_headers
            )
        except Conflict:
            continue  # another process was faster; it may have written the same
        return True


async def remove(bus: Bus, subject: str) -> bool:
    """Takes a schedule off; whether it was there.

    Raises:
        BusError: no answer.
    """
    answer = await jetstream.api(bus, f"STREAM.PURGE.{LOG}", {"filter": subject})
    return bool(answer["purged"])


async def find(bus: Bus, subject: str) -> ScheduleEntry | None:
    """The schedule on this subject."""
    msg = await jetstream.last(bus, LOG, subject)
    return _entry(msg) if msg else None


async def pending(bus: Bus, pattern: str) -> AsyncIterator[ScheduleEntry]:
    """The schedules on subjects of `pattern`, oldest first.

    Raises:
        BusError: the log does not answer.
    """
    async for msg in jetstream.stored(bus, LOG, pattern):
        yield _entry(msg)


def _entry(msg: Msg) -> ScheduleEntry:
    headers = msg.headers or {}
    return ScheduleEntry(
        subject=headers["Nats-Subject"],
        target=headers.get(_TARGET, ""),
        data=msg.data,
        timing=Timing(headers.get(_WHEN, ""), headers.get(_ZONE, "UTC")),
        headers={k: v for k, v in headers.items() if not k.startswith("Nats-")},
        sequence=int(headers["Nats-Sequence"]),
    )
