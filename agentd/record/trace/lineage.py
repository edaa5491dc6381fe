"""What each task followed from: another task, a tool call, a fact, or the facts of a join."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from agentd.record.trace.entry import Entry
from agentd.record.trace.grouped import Grouped, TaskRecords
from agentd.record.values import items, text_of, whole

# A tree that is deeper is flattened: any client may send a chain of a million tasks.
DEEPEST = 40
_MOST_FACTS = 1_000  # of one join: it holds no more


@dataclass(frozen=True)
class Place:
    """Where a task or an event stands: below a task, perhaps below an event that it emitted."""

    task: str = ""
    event: str = ""


def facts_of(joined: Entry | None, records: Grouped) -> list[Entry]:
    """The facts of a join, as far as they are among the records."""
    numbers = numbers_of_facts(joined) if joined else []
    found = (records.by_sequence.get(number) for number in numbers)
    return [each for each in found if each is not None]


def numbers_of_facts(entry: Entry) -> list[int]:
    """The sequences of the facts of a join, if this record lists them."""
    listed = items(entry.content.get("facts")) if entry.kind == "joined" else []
    return [whole(number) for number in listed[:_MOST_FACTS]]


def places(records: Grouped) -> Mapping[str, Place]:
    """The place of every task and every event, by id. At the root it is `Place()`."""
    owners = _owners(records)
    raw = {key: owners.get(event.parent, Place()) for key, event in records.events.items()}
    raw |= {key: _place(task, owners) for key, task in records.tasks.items()}
    for key, task in records.tasks.items():
        if task.joined:
            facts = facts_of(task.joined, records)
            raw[key] = _common([_owner(fact, owners) for fact in facts], raw)
    return _bounded(raw)


def _owners(records: Grouped) -> dict[str, Place]:
    """For the id of every message, the place of what follows from it."""
    owners = {key: Place(event=key) for key in records.events}
    for task in records.tasks.values():
        owners |= {result.id: Place(task.id) for result in task.results if result.id}
    return owners | {key: Place(key) for key in records.tasks}


def _place(task: TaskRecords, owners: Mapping[str, Place]) -> Place:
    """The place that a task itself names. One made of a fact is not on record; its result names
    the fact."""
    if task.message:
        return owners.get(task.message.parent, Place())
    named = (text_of(each.context.get("taskParentId")) for each in task.results)
    return owners.get(next(filter(None, named), ""), Place())


def _owner(fact: Entry, owners: Mapping[str, Place]) -> Place:
    """The task whose result, or the event, a fact is."""
    return owners.get(fact.task or fact.id, Place())


def _common(owners: Sequence[Place], raw: Mapping[str, Place]) -> Place:
    """The nearest place that all these are below: where a fan-out began that a join ends."""
    lines = [list(_upward(each, raw)) for each in owners]
    if not lines:
        return Place()
    shared = set(lines[0]).intersection(*lines[1:])
    return next((each for each in lines[0] if each in shared), Place())


def _upward(place: Place, raw: Mapping[str, Place]) -> Iterator[Place]:
    """A place, and those that it is below."""
    seen = set[Place]()
    while place != Place() and place not in seen:
        seen.add(place)
        yield place
        place = raw.get(place.event or place.task, Place())


def _bounded(raw: Mapping[str, Place]) -> dict[str, Place]:
    """The places without loops, and without more than DEEPEST levels."""
    depths: dict[str, int] = {}
    bounded: dict[str, Place] = {}
    for key in raw:
        for each in reversed(_line(key, raw, depths)):
            place = raw[each]
            above = place.event or place.task
            if above and above not in depths:  # a loop ends here
                place, above = Place(), ""
            if above and depths[above] >= DEEPEST:
                place, above = bounded[above], ""
                depths[each] = DEEPEST
            else:
                depths[each] = depths[above] + 1 if above else 0
            bounded[each] = place
    return bounded


def _line(key: str, raw: Mapping[str, Place], depths: Mapping[str, int]) -> list[str]:
    """A task or an event and all above it whose depth is not known yet, each once."""
    line = dict[str, None]()
    while key and key in raw and key not in depths and key not in line:
        line[key] = None
        key = raw[key].event or raw[key].task
    return list(line)
