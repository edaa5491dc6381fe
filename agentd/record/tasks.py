"""Tasks on record: what each was asked, who answered, how it ended; found by the index."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace

from agentd.record import queries
from agentd.record.index.rows import Row
from agentd.record.queries import Filter


@dataclass(frozen=True, kw_only=True)
class TaskRow:
    """A task in one line.

    Attributes:
        asked: the beginning of the question; "" of a task that facts began, which is not on record.
        agent: who answered, or who it is for.
        success: None while it has no result.
        code: of a failed one.
        at: when it was stored, or else when it ended, in seconds since the epoch.
        latency: in milliseconds.
        text: the beginning of the answer, or the part of it that was searched for.
    """

    task: str
    conversation: str
    topic: str
    asked: str
    source: str
    agent: str
    success: bool | None
    code: str
    at: float
    ended: float | None
    latency: float | None
    tokens: int | None
    cost: float | None
    model: str
    revision: str
    text: str


def tasks(
    db: sqlite3.Connection, where: Filter, *, limit: int = 100, waiting: bool = False
) -> list[TaskRow]:
    """The newest tasks that fit, the newest first; with `waiting`, those without a result only.

    Words of a search may stand in the question or in the answer.
    """
    found = queries.messages(db, replace(where, kind="result"), limit=limit)
    if not where.failed:
        # One without a result is found by its question alone.
        found += queries.messages(db, replace(where, kind="task"), limit=limit)
    found.sort(key=lambda row: row.sequence, reverse=True)
    names = list(dict.fromkeys(row.task for row in found if row.task))[:limit]
    seen = {row.sequence: row for row in found}
    rows = (_row(name, queries.of_task(db, where.env, name), seen) for name in names)
    shown = [row for row in rows if row and not (waiting and row.success is not None)]
    return sorted(shown, key=lambda row: row.at, reverse=True)


def _row(name: str, messages: Iterable[Row], seen: dict[int, Row]) -> TaskRow | None:
    # What was found by its text shows that text.
    own = [seen.get(row.sequence, row) for row in messages if row.task == name]
    asked = next((row for row in own if row.kind == "task"), None)
    # Of two lives of a task, the result of the later one counts.
    result = next((row for row in reversed(own) if row.kind == "result"), None)
    first = asked or result
    if first is None:
        return None
    last = result or first
    counts = [each for each in (last.tokens_in, last.tokens_out) if each is not None]
    return TaskRow(
        task=name,
        conversation=first.conversation,
        topic=first.topic,
        asked=asked.text if asked else "",
        source=asked.source if asked else "",
        agent=result.source if result else first.target,
        success=result.success if result else None,
        code=result.code if result else "",
        at=first.time,
        ended=result.time if result else None,
        latency=result.latency if result else None,
        tokens=sum(counts) if counts else None,
        cost=last.cost,
        model=last.model,
        revision=last.revision,
        text=result.text if result else "",
    )
