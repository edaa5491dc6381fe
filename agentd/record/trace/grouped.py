"""The records of each task, divided into its lives, and the records that belong to no task."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from agentd.queue.delivery import LIFE, SENT_AGAIN
from agentd.record.trace.entry import Entry

# Only the server sets it: this record was due, or resumes a suspended task.
_FROM_SCHEDULE = "Nats-Scheduler"


@dataclass
class TaskRecords:
    """The records of one task, ascending."""

    id: str
    entries: list[Entry] = field(default_factory=list[Entry])

    @cached_property
    def message(self) -> Entry | None:
        """The first record that has the bytes of the task. A task that is made of a fact has one
        only if it was suspended, or is a dead letter."""
        found = (each for each in self.entries if each.subject.type in ("task", "dlq"))
        return next(found, None)

    @property
    def sent(self) -> Entry | None:
        """The task as it was sent first; None for one that is made of a fact."""
        found = opening(self.lives[0])
        return found if found and not resumes(found) else None

    @cached_property
    def joined(self) -> Entry | None:
        """The event that lists the facts, of the task of a join."""
        return next((each for each in self.entries if each.subject.domain == "join"), None)

    @property
    def results(self) -> list[Entry]:
        return [each for each in self.entries if each.subject.type == "result"]

    @cached_property
    def lives(self) -> Sequence[Sequence[Entry]]:
        """The records of each life: one that is sent again from the dead letters begins another."""
        starts = [self.entries[0].sequence]
        starts += [each.sequence for each in self.entries[1:] if _is_sent_again(each)]
        lives: list[list[Entry]] = [[] for _ in starts]
        for entry in self.entries:
            # An entry of a journal says which life it is of: it may be stored during the next one.
            lives[max(0, bisect_right(starts, entry.life or entry.sequence) - 1)].append(entry)
        return lives


@dataclass(frozen=True)
class Grouped:
    """All records of a trace: those of tasks by their id, events that agents and people have
    published by their id, and the rest."""

    tasks: Mapping[str, TaskRecords]
    events: Mapping[str, Entry]
    rest: Sequence[Entry]
    by_sequence: Mapping[int, Entry]


def grouped(entries: Iterable[Entry]) -> Grouped:
    """The records in their groups. A record that is given twice counts once."""
    by_sequence = {entry.sequence: entry for entry in sorted(entries, key=lambda e: e.sequence)}
    tasks: dict[str, TaskRecords] = {}
    events: dict[str, Entry] = {}
    rest: list[Entry] = []
    for entry in by_sequence.values():
        if task := entry.task:
            tasks.setdefault(task, TaskRecords(task)).entries.append(entry)
        elif not entry.is_ours and entry.id and entry.id not in events:
            events[entry.id] = entry
        else:
            rest.append(entry)
    # Any client may give an event the id of a task.
    rest += [events.pop(taken) for taken in events.keys() & tasks.keys()]
    return Grouped(tasks, events, rest, by_sequence)


def opening(life: Sequence[Entry]) -> Entry | None:
    """The record of the task itself in one of its lives."""
    return next((each for each in life if each.subject.type == "task"), None)


def resumes(entry: Entry) -> bool:
    """Whether a task's message is the copy that resumes a suspended run."""
    return _FROM_SCHEDULE in entry.headers and LIFE in entry.headers


def _is_sent_again(entry: Entry) -> bool:
    is_task = entry.subject.type == "task"
    return is_task and SENT_AGAIN in entry.headers and not resumes(entry)
