"""What the index is asked: each question is a function of a connection, for `Index.ask`.

Nobody else writes SQL. Messages are in the order of the log.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from agentd.record.index.file import COLUMNS
from agentd.record.index.rows import Row
from agentd.record.index.texts import joined, phrase

Kind = Literal["task", "conversation", "message"]
Group = Literal["agent", "model", "conversation", "day"]

_SHOWN = 400  # characters of a text that come with a row
_MOST = 10_000  # messages of a conversation or a task
_ROW: Final = (
    f"SELECT {', '.join(f'm.{name}' for name in COLUMNS)}, substr(t.text, 1, {_SHOWN})"
    " FROM message m LEFT JOIN texts t ON t.rowid = m.sequence"
)
_FOUND: Final = _ROW.replace(
    "message m LEFT JOIN texts t ON t.rowid = m.sequence",
    "texts t CROSS JOIN message m ON m.sequence = t.rowid",
)
_NAMED: Final[tuple[tuple[Kind, str], ...]] = (
    ("task", "task"),
    ("conversation", "conversation"),
    ("message", "id"),
)
_GROUPS: Final = {
    "agent": "source",
    "model": "model",
    "conversation": "conversation",
    "day": "date(time, 'unixepoch', 'localtime')",
}


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which messages are wanted; what is not stated does not matter.

    Attributes:
        since, until: seconds since the epoch.
        after: those with a higher sequence.
        agent: those that it sent, or that are for it.
        failed: results of failed tasks, failed tool calls and attempts, dead letters.
        text: words that stand in it, one after the other.
    """

    env: str
    since: float | None = None
    until: float | None = None
    after: int | None = None
    agent: str | None = None
    conversation: str | None = None
    kind: str | None = None
    failed: bool = False
    text: str | None = None


@dataclass(frozen=True)
class Named:
    """What an id, or the beginning of one, names: a `task`, a `conversation` or a `message`."""

    kind: Kind
    id: str


@dataclass(frozen=True)
class Cost:
    """What the results of one group have cost. `unknown` of them do not say."""

    group: str
    tasks: int
    failed: int
    tokens_in: int
    tokens_out: int
    cost: float
    unknown: int


def messages(db: sqlite3.Connection, where: Filter, *, limit: int = 1_000) -> list[Row]:
    """The newest messages that fit, at most `limit` of them."""
    if where.text and not phrase(where.text):
        return []
    terms, values = _terms(where)
    select = _FOUND if where.text else _ROW
    sql = f"{select} WHERE {' AND '.join(terms)} ORDER BY m.sequence DESC LIMIT ?"
    return _rows(db, sql, [*values, limit])[::-1]


def of_conversation(
    db: sqlite3.Connection, env: str, conversation: str, *, limit: int = _MOST
) -> list[Row]:
    """The messages of a conversation; of more than `limit` the newest."""
    sql = f"{_ROW} WHERE m.conversation = ? AND m.env = ? ORDER BY m.sequence DESC LIMIT ?"
    return _rows(db, sql, [conversation, env, limit])[::-1]


def of_task(db: sqlite3.Connection, env: str, task: str, *, limit: int = _MOST) -> list[Row]:
    """A task, its journal, its approvals, its result, and what it has emitted."""
    sql = (
        f"{_ROW} WHERE m.sequence IN (SELECT sequence FROM message WHERE task = ?1"
        " UNION SELECT sequence FROM message WHERE parent = ?1)"
        " AND m.env = ?2 ORDER BY m.sequence LIMIT ?3"
    )
    return _rows(db, sql, [task, env, limit])


def at(db: sqlite3.Connection, sequence: int) -> Row | None:
    """The message with this sequence."""
    return next(iter(_rows(db, f"{_ROW} WHERE m.sequence = ?", [sequence])), None)


def with_id(db: sqlite3.Connection, env: str, message: str) -> list[Row]:
    """The messages of this id. Two lives of a task have the same."""
    sql = f"{_ROW} WHERE m.id = ? AND m.env = ? ORDER BY m.sequence LIMIT ?"
    return _rows(db, sql, [message, env, _MOST])


def named(db: sqlite3.Connection, env: str, name: str, *, limit: int = 10) -> list[Named]:
    """What this id, or this beginning of an id, names. The whole id of something names only that;
    what is both a task and a conversation is named as a task."""
    found = list[Named]()
    for kind, column in _NAMED:
        sql = (
            f"SELECT DISTINCT {column} FROM message"
            f" WHERE {column} >= ? AND {column} < ? AND env = ? LIMIT ?"
        )
        ids = [each for (each,) in db.execute(sql, (name, _beyond(name), env, limit + 1))]
        if name in ids:
            return [Named(kind, name)]
        known = {each.id for each in found}
        found += [Named(kind, each) for each in ids if each not in known]
    return found[: limit + 1]


def costs(
    db: sqlite3.Connection, env: str, by: Group, *, since: float = 0.0, until: float = 1e12
) -> list[Cost]:
    """What tasks have cost, the dearest group first; days in their order."""
    order = "1" if by == "day" else "6 DESC, 2 DESC, 1"
    sql = (
        f"SELECT {_GROUPS[by]}, count(*), sum(success = 0), total(tokens_in), total(tokens_out),"
        " total(cost), sum(cost IS NULL) FROM message"
        " WHERE kind = 'result' AND env = ? AND time >= ? AND time < ?"
        f" GROUP BY 1 ORDER BY {order}"
    )
    return [
        Cost(group, tasks, failed or 0, int(tokens_in), int(tokens_out), cost, unknown)
        for group, tasks, failed, tokens_in, tokens_out, cost, unknown in db.execute(
            sql, (env, since, until)
        )
    ]


def _terms(where: Filter) -> tuple[list[str], list[Any]]:
    """The conditions of a filter, and their values."""
    stated: list[tuple[str, Any]] = [("m.env = ?", where.env)]
    optional = (
        ("m.time >= ?", where.since),
        ("m.time < ?", where.until),
        ("m.sequence > ?", where.after),
        ("(m.source = ? OR m.target = ?)", where.agent),
        ("m.conversation = ?", where.conversation),
        ("m.kind = ?", where.kind),
        ("m.success = ?", False if where.failed else None),
        ("texts MATCH ?", phrase(where.text) if where.text else None),
    )
    stated += [(term, value) for term, value in optional if value is not None]
    return [term for term, _ in stated], [v for term, v in stated for _ in range(term.count("?"))]


def _rows(db: sqlite3.Connection, sql: str, values: Sequence[Any]) -> list[Row]:
    return [_row(each) for each in db.execute(sql, values)]


def _row(values: Sequence[Any]) -> Row:
    row = Row(*values)
    success = None if row.success is None else bool(row.success)
    return row._replace(success=success, text=joined(row.text or ""))


def _beyond(prefix: str) -> str:
    """The first text after all that begin with `prefix`."""
    return prefix + "\U0010ffff"
