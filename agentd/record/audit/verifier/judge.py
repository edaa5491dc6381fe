"""What is verified: batches of messages, which of them may be gone, and what is wrong."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

SLACK: Final = 60.0  # seconds that clocks may differ
_LOG = ("first", "bytes", "max_bytes", "max_age")
_SHOWN = 20  # events that are named
_MOST = 100_000  # messages of a batch
_LARGEST = 2.0**62
_LATEST = 2.0**37  # seconds: the year 6325
FULL: Final = 0.8  # of the bytes that the log may have: so full it removes its oldest messages


@dataclass(frozen=True)
class Batch:
    """What one process read of the log in one go, as it is in the tree.

    Attributes:
        start: the index of the first leaf.
        sequences: the first and last sequences of the messages, ascending.
        at, since: when it was read, and when its first message was stored; in seconds.
        expires: when the server removes a message by itself, by sequence.
        log: what the log said: its `first` sequence, `bytes`, `max_bytes`, and `max_age` in
            seconds (0 for no limit).
    """

    start: int
    sequences: list[list[int]]
    at: float
    since: float
    expires: dict[int, float]
    log: dict[str, float]

    @classmethod
    def parse(cls, text: bytes) -> Batch:
        """The batch in its leaf.

        Raises:
            ValueError, TypeError, LookupError: it is none.
        """
        fields = json.loads(text)
        return cls(
            start=int(fields["start"]),
            sequences=_sequences(fields["sequences"]),
            at=_number(fields["at"]),
            since=_number(fields["since"]),
            expires={int(sequence): _number(at) for sequence, at in fields["expires"]},
            log={name: _number(fields["log"][name]) for name in _LOG},
        )

    def each(self) -> Iterator[int]:
        for first, last in self.sequences:
            yield from range(first, last + 1)


def _number(value: object) -> float:
    number = float(value) if isinstance(value, int | float) else -1.0
    if not 0 <= number < _LARGEST:
        raise ValueError(f"{value!r} is no time or size")
    return number


def _sequences(value: Any) -> list[list[int]]:
    """Runs of sequences, ascending: at most as many as a batch can have."""
    before = count = 0
    for first, last in value:
        if not isinstance(first, int) or not isinstance(last, int) or not before < first <= last:
            raise ValueError("the sequences do not ascend")
        before, count = last, count + last - first + 1
    if count > _MOST:
        raise ValueError("more messages than a batch can have")
    return value


@dataclass(order=True)
class Finding:
    """What is wrong; `sequence` is the first message that it concerns, 0 for none."""

    sequence: int
    text: str


@dataclass
class Report:
    """What was verified. `gone` counts messages that may be gone, by reason."""

    messages: int = 0
    first: int = 0
    last: int = 0
    gone: dict[str, int] = field(default_factory=dict[str, int])
    findings: list[Finding] = field(default_factory=list[Finding])
    notes: list[str] = field(default_factory=list[str])

    def find(self, sequence: int, text: str) -> None:
        self.findings.append(Finding(sequence, text))


class Missing:
    """Judges the messages that are in the tree and no longer in the log."""

    def __init__(self, env: str, now: float) -> None:
        self._now = now
        # As `erasure` has them, which this package cannot import.
        self._tombstones = tuple(
            ".".join(("agents", env, "event", domain, "")) for domain in ("dlq", "conversation")
        )
        self._below, self._before = 0.0, float("-inf")
        self._limits: tuple[float, float] | None = None
        self._erased: list[tuple[int, int, int]] = []  # first, last, and the event that says so
        self._gone: list[tuple[int, float]] = []  # the sequence, and `since` of its batch
        self.expired = 0
        self.changes: list[str] = []

    def log(self, state: dict[str, float], at: float) -> None:
        """What the log said of itself at this time."""
        limits = (state["max_bytes"], state["max_age"])
        if self._limits not in (None, limits):
            size, days = f"{limits[0]:.0f} bytes", f"{limits[1] / 86400:g} days"
            self.changes.append(f"{moment(at)}: the log keeps {size} and {days} from here on")
        self._limits = limits
        if 0 < limits[0] * FULL <= state["bytes"]:
            self._below = max(self._below, state["first"])
        if limits[1]:
            self._before = max(self._before, at - limits[1] + SLACK)

    def message(self, sequence: int, subject: str, data: bytes) -> None:
        """A message that is there: it may say what was erased before it."""
        if not subject.startswith(self._tombstones):
            return
        try:
            for first, last in json.loads(data)["payload"]["content"]["erased"]:
                self._erased.append((int(first), min(int(last), sequence), sequence))
        except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
            return  # anyone may publish anything

    def add(self, sequence: int, batch: Batch) -> None:
        """A message that is gone."""
        if batch.expires.get(sequence, float("inf")) <= self._now + SLACK:
            self.expired += 1
        else:
            self._gone.append((sequence, batch.since))

    def judge(self, report: Report) -> None:
        """Adds what may be gone to the counts, and the rest to the findings."""
        age = self._limits[1] if self._limits else 0.0
        before = max(self._before, self._now - age + SLACK) if age else self._before
        counts = {"expired": self.expired, "erased": 0, "older than the log": 0}
        found: list[int] = []
        erased = _Erased(self._erased)
        for sequence, since in self._gone:
            if sequence < self._below or since < before:
                counts["older than the log"] += 1
            elif erased.take(sequence):
                counts["erased"] += 1
            else:
                found.append(sequence)
        report.gone = {reason: count for reason, count in counts.items() if count}
        report.notes += self.changes
        events = list(erased.counts.items())
        for event, count in events[:_SHOWN]:
            report.notes.append(f"the event with sequence {event} says that {count} were erased")
        if len(events) > _SHOWN:
            report.notes.append(f"{len(events) - _SHOWN} more events say what was erased")
        for first, last in runs(sorted(found)):
            many = f"to {last} are missing" if last > first else "is missing"
            report.find(first, f"{many}: removed, and no event says that it was erased")


class _Erased:
    """What events say that was erased: ranges of sequences, which may overlap."""

    def __init__(self, ranges: Iterable[tuple[int, int, int]]) -> None:
        self._starts: list[int] = []
        self._ends: list[tuple[int, int]] = []  # of this range and those before, the last end
        self.counts: dict[int, int] = {}  # by the sequence of the event
        for first, last, event in sorted(ranges):
            self._starts.append(first)
            self._ends.append(max([(last, event), *self._ends[-1:]]))

    def take(self, sequence: int) -> bool:
        """Whether an event names this sequence; it is counted."""
        index = bisect_right(self._starts, sequence)
        end, event = self._ends[index - 1] if index else (0, 0)
        if sequence > end:
            return False
        self.counts[event] = self.counts.get(event, 0) + 1
        return True


def runs(sequences: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending sequences as pairs of first and last."""
    found: list[tuple[int, int]] = []
    for each in sequences:
        if found and found[-1][1] == each - 1:
            found[-1] = (found[-1][0], each)
        else:
            found.append((each, each))
    return found


def moment(at: float) -> str:
    return (
        datetime.fromtimestamp(min(at, _LATEST), UTC)
        .isoformat(" ", "seconds")
        .removesuffix("+00:00")
    )


def show(report: Report, say: Callable[[str], object]) -> None:
    """Says what was verified, and what is wrong, the first sequence first."""
    gone = "".join(f", {count} gone ({reason})" for reason, count in report.gone.items())
    say(f"{report.messages} messages, sequences {report.first} to {report.last}{gone}")
    for note in report.notes:
        say(f"note: {note}")
    for finding in report.findings:
        say(f"FOUND: {f'sequence {finding.sequence} ' * bool(finding.sequence)}{finding.text}")
    say(f"{len(report.findings)} findings" if report.findings else "verified: nothing is wrong")
