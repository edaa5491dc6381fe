"""The model calls of a task, found by the index and read from the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentd.nats.bus import Bus
from agentd.record import queries
from agentd.record.calls import RecordedCall, calls_of, in_result
from agentd.record.index.index import Index
from agentd.record.trace import reader
from agentd.record.trace.entry import Entry
from agentd.record.values import whole

_MOST = 2_000  # records of a task


async def calls(index: Index, bus: Bus, env: str, task: str) -> list[tuple[int, RecordedCall]]:
    """The calls of a task in their order, each with the number of its life, from 1.

    Raises:
        StartError: the index cannot be written.
        BusError: the server does not answer.
    """
    rows = await index.ask(lambda db: queries.of_task(db, env, task, limit=_MOST))
    own = [row.sequence for row in rows if row.task == task and row.kind != "dlq"]
    read = [await reader.record(bus, env, sequence) for sequence in own]
    entries = [entry for entry in read if entry is not None]
    asked = next((each for each in entries if each.subject.type == "task"), None)
    content = asked.payload.get("content") if asked else None
    lives = sorted({_life(each) for each in entries} - {0})
    return [
        (number, call)
        for number, life in enumerate(lives, 1)
        for call in calls_of(_journal([e for e in entries if _life(e) == life]), content)
    ]


def _life(entry: Entry) -> int:
    if entry.subject.type == "result":
        return whole(in_result(entry.headers).get("life"))
    return entry.life


def _journal(entries: Sequence[Entry]) -> list[Any]:
    """The entries of a journal, and behind them what the result says of the last call."""
    run = [each.content for each in entries if each.subject.domain == "run"]
    ends = [in_result(each.headers) for each in entries if each.subject.type == "result"]
    return [*run, *ends]
