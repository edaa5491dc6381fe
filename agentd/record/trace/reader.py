"""Reads the trace of a task, a conversation or a message.

The index says where the records are, the log what they say.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentd.errors import DecodeError, SubjectError, TaskError, UsageError
from agentd.nats.bus import Bus, Msg
from agentd.nats.objects import MARK, fetch
from agentd.nats.records import Room
from agentd.protocol import strict_json
from agentd.protocol.message import short_id
from agentd.record import queries
from agentd.record.index.index import Index
from agentd.record.index.rows import Row
from agentd.record.tombstones import message_at, tombstone
from agentd.record.trace.entry import Entry
from agentd.record.trace.lineage import numbers_of_facts
from agentd.record.trace.node import Node
from agentd.record.trace.tree import branch, build
from agentd.record.values import mapping, name_of

_AT_ONCE = 64  # messages that are asked for at the same time
_SHOWN = 5  # ids in an error


@dataclass(frozen=True)
class Traced:
    """A trace.

    Attributes:
        asked: the id of the message that was asked for; "" for a whole conversation.
        missing: how many of its records the log no longer has, or were too many to read.
    """

    tree: Node
    asked: str
    missing: int


async def trace(index: Index, bus: Bus, env: str, name: str) -> Traced:
    """The trace of what `name` is an id of, the beginning of one, or a number in the log.

    Raises:
        UsageError: it names nothing on record, or several things.
        StartError: the index cannot be written.
        BusError: the server does not answer.
    """

    def found(db: sqlite3.Connection) -> tuple[_Place, list[int]]:
        place = _find(db, env, name)
        conversation, sequence = place.conversation, place.sequence
        return place, queries.around(db, env, conversation, sequence) if conversation else []

    place, sequences = await index.ask(found)
    if not sequences:
        raise UsageError(await _why_nothing(index, bus, env, name))
    entries, missing = await _read(bus, env, sequences)
    facts = {number for entry in entries for number in numbers_of_facts(entry)}
    others, lost = await _read(bus, env, facts.difference(sequences))
    # Thousands of records take a second, in which a process that serves tasks does not stand still.
    tree = await asyncio.to_thread(build, place.conversation, [*entries, *others])
    shown = branch(tree, place.asked) if place.asked else tree
    return Traced(shown, place.asked, missing + lost)


@dataclass(frozen=True)
class _Place:
    conversation: str
    sequence: int
    asked: str = ""


def _find(db: sqlite3.Connection, env: str, name: str) -> _Place:
    """The conversation of what `name` names, and a record there."""
    if name.isascii() and name.isdecimal() and len(name) < 19:
        row = queries.at(db, int(name))
        if row and row.env == env:
            return _Place(_conversation(db, env, row), row.sequence, name)
    named = queries.named(db, env, name)
    if not named:
        return _Place("", 0)
    if len(named) > 1:
        some = ", ".join(f"{each.kind} {short_id(each.id)}" for each in named[:_SHOWN])
        more = " …" if len(named) > _SHOWN else ""
        raise UsageError(f"{name!r} is the beginning of several ids: {some}{more}")
    [one] = named
    if one.kind == "conversation":
        newest = queries.of_conversation(db, env, one.id, limit=1)
        return _Place(one.id, newest[0].sequence if newest else 0)
    rows = (queries.of_task if one.kind == "task" else queries.with_id)(db, env, one.id)
    return _Place(_conversation(db, env, rows[0]), rows[0].sequence, one.id)


async def _why_nothing(index: Index, bus: Bus, env: str, name: str) -> str:
    """Why there is nothing to show of what `name` names."""
    stone = await tombstone(bus, env, index, name)
    if stone is None:
        return f"nothing on record has the id {name!r} in {env!r}; see: agentd log --grep TEXT"
    at = datetime.fromtimestamp(stone.at).astimezone()
    by = name_of(stone.by) or "somebody"
    return f"{name} was forgotten at {at:%Y-%m-%d %H:%M} by {by}: {stone.messages:,} messages"


def _conversation(db: sqlite3.Connection, env: str, row: Row) -> str:
    """The conversation of a record. A decision of a person names only the task that it is about."""
    of_task = queries.of_task(db, env, row.task) if row.task else []
    own = (each.conversation for each in of_task if each.kind in ("task", "result"))
    return next(filter(None, own), row.conversation)


async def record(bus: Bus, env: str, sequence: int) -> Entry | None:
    """The record with this sequence; None if the log has none of the environment.

    Raises:
        BusError: the server does not answer.
    """
    return await _entry(bus, env, sequence, Room())


async def _read(bus: Bus, env: str, sequences: Iterable[int]) -> tuple[list[Entry], int]:
    """The records with these sequences, and how many of them were not read."""
    room, free = Room(), asyncio.Semaphore(_AT_ONCE)

    async def one(sequence: int) -> Entry | None:
        async with free:
            return await _entry(bus, env, sequence, room)

    wanted = list(sequences)
    found = await asyncio.gather(*map(one, wanted))
    entries = [entry for entry in found if entry is not None]
    return entries, len(wanted) - len(entries)


async def _entry(bus: Bus, env: str, sequence: int, room: Room) -> Entry | None:
    msg = await message_at(bus, sequence)
    if msg is None:
        return None
    try:
        room.take(len(msg.data))
        entry = entry_of(msg)
        return await _whole(bus, entry, room) if entry.subject.env == env else None
    except (DecodeError, SubjectError):
        return None


def entry_of(msg: Msg) -> Entry:
    """The record in a message that a direct get of the log gave."""
    headers = msg.headers or {}
    at = datetime.fromisoformat(headers["Nats-Time-Stamp"]).timestamp()
    return Entry.of(int(headers["Nats-Sequence"]), at, headers["Nats-Subject"], msg.data, headers)


async def _whole(bus: Bus, entry: Entry, room: Room) -> Entry:
    """The record with its content, if that is in the object store and can be read."""
    content = entry.payload.get("content")
    is_result = entry.subject.type == "result" and isinstance(content, dict)
    part = entry.content.get("data") if is_result else content
    reference = mapping(mapping(part).get(MARK))
    if not reference:
        return entry
    try:
        data = await fetch(bus, str(reference.get("digest")))
        room.take(len(data), records=0)
        value: Any = strict_json.parse(data)
    except (TaskError, DecodeError):
        return entry
    return entry.with_content({**entry.content, "data": value} if is_result else value)
