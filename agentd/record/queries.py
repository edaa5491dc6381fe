"""What the index is asked: each question is a function of a connection, for `Index.ask`.

Nobody else writes SQL. Messages are in the order of the log.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import date
from typing import Any, Final, Literal

from agentd.record.index.file import COLUMNS, state
from agentd.record.index.rows import Row
from agentd.record.index.texts import joined, phrase

Kind = Literal["task", "conversation", "message"]
Group = Literal["agent", "model", "conversation", "day"]

_SHOWN = 400  # characters of a text that come with a row
_MOST = 10_000  # messages of a conversation or a task
_AROUND = 40  # words around what was found
_COLUMNS: Final = ", ".join(f"m.{name}" for name in COLUMNS)
_ROW: Final = (
    f"SELECT {_COLUMNS}, substr(t.text, 1, {_SHOWN})"
    " FROM message m LEFT JOIN texts t ON t.rowid = m.sequence"
)
_FOUND: Final = (
    f"SELECT {_COLUMNS}, snippet(texts, 0, '', '', '…', {_AROUND})"
    " FROM texts CROSS JOIN message m ON m.sequence = texts.rowid"
)
# The sequences grow with the time, and rows are read in their order.
_AT: Final = (
    "ifnull((SELECT sequence FROM message WHERE time >= ? ORDER BY time LIMIT 1),"
    " 9223372036854775807)"
)
_NAMED: Final[Mapping[Kind, str]] = {
    "task": "task",
    "conversation": "conversation",
    "message": "id",
}
_BEYOND: Final = "\U0010ffff"  # after every text that may follow
_ALL: Final = -1  # a limit that is none
_NEVER: Final = 1e12  # a time after all others
_SUMS: Final = (
    "count(*), total(success = 0), total(tokens_in), total(tokens_out), total(cost),"
    " total(cost IS NULL)"
)
_GROUPS: Final = {
    "agent": "source",
    "model": "model",
    "conversation": "conversation",
    # Days are those of this machine. No time zone begins its days within a quarter of an hour.
    "day": "CAST(time / 900 AS INTEGER) * 900",
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
class TaskOf:
    """A task of a conversation: whether it has a result, and when it was heard of last, in seconds
    since the epoch."""

    task: str
    answered: bool
    last: float


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


@dataclass(frozen=True)
class Costs:
    """The costs of groups, of all together, and how many `more` groups there are."""

    groups: list[Cost]
    total: Cost
    more: int


def messages(db: sqlite3.Connection, where: Filter, *, limit: int = 1_000) -> list[Row]:
    """The newest messages that fit, at most `limit` of them."""
    if where.text and not phrase(where.text):
        return []
    select, order = (_FOUND, "texts.rowid") if where.text else (_ROW, "m.sequence")
    found = dict[int, Row]()
    for agent, values in _of_agent(where.agent):
        terms = [(agent, values), *_terms(where)]
        conditions = " AND ".join(term for term, _ in terms)
        sql = f"{select} WHERE {conditions} ORDER BY {order} DESC LIMIT ?"
        rows = _rows(db, sql, [*(value for _, of in terms for value in of), limit])
        found |= {row.sequence: row for row in rows}
    return [found[sequence] for sequence in sorted(found)][-limit:]


def of_conversation(
    db: sqlite3.Connection, env: str, conversation: str, *, limit: int = _MOST
) -> list[Row]:
    """The messages of a conversation; of more than `limit` the newest."""
    sql = f"{_ROW} WHERE m.conversation = ? AND m.env = ? ORDER BY m.sequence DESC LIMIT ?"
    return _rows(db, sql, [conversation, env, limit])[::-1]


def around(
    db: sqlite3.Connection, env: str, conversation: str, sequence: int, *, limit: int = _MOST
) -> list[int]:
    """The messages of a conversation and those about its tasks, such as the decisions of people,
    by their sequences; of more than `limit` those that are next to `sequence`."""
    those = (
        "SELECT sequence FROM message WHERE conversation = ?1 AND env = ?2"
        " UNION SELECT m.sequence FROM (SELECT DISTINCT task FROM message"
        " WHERE conversation = ?1 AND env = ?2 AND task <> '') AS t"
        " JOIN message m ON m.task = t.task WHERE m.env = ?2"
    )
    sql = f"SELECT sequence FROM ({those}) ORDER BY abs(sequence - ?3) LIMIT ?4"
    return sorted(each for (each,) in db.execute(sql, (conversation, env, sequence, limit)))


def tasks_of(db: sqlite3.Connection, env: str, conversation: str) -> list[TaskOf]:
    """The tasks of a conversation."""
    sql = (
        "SELECT task, max(kind = 'result'), max(time) FROM message"
        " WHERE conversation = ? AND env = ? AND task <> '' GROUP BY task ORDER BY min(sequence)"
    )
    found = db.execute(sql, (conversation, env))
    return [TaskOf(task, bool(answered), last) for task, answered, last in found]


def refers(db: sqlite3.Connection, digest: str, *, without: str) -> bool:
    """Whether a message refers to this object, other than those of the conversation `without`."""
    sql = (
        "SELECT 1 FROM texts t CROSS JOIN message m ON m.sequence = t.rowid"
        " WHERE texts MATCH ? AND m.conversation <> ?"
        " UNION ALL SELECT 1 FROM message WHERE object = ? AND conversation <> ? LIMIT 1"
    )
    values = (phrase(digest), without, digest, without)
    return db.execute(sql, values).fetchone() is not None


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


def newest(db: sqlite3.Connection) -> int:
    """The sequence up to which the log was read."""
    return state(db)[0]


def beginning(
    db: sqlite3.Connection, env: str, kind: Kind, name: str, *, limit: int = 10
) -> list[str]:
    """The ids of this kind that begin with `name`; if one is `name`, only that."""
    column = _NAMED[kind]
    sql = (
        f"SELECT DISTINCT {column} FROM message"
        f" WHERE {column} >= ? AND {column} < ? AND env = ? LIMIT ?"
    )
    bounds = (name, name + _BEYOND)
    if not name or not _is_text(name):
        return []
    found = [each for (each,) in db.execute(sql, (*bounds, env, limit + 1))]
    return [name] if name in found else found


def named(db: sqlite3.Connection, env: str, name: str, *, limit: int = 10) -> list[Named]:
    """What this id, or this beginning of an id, names. The whole id of something names only that;
    what is both a task and a conversation is named as a task."""
    found = dict[str, Named]()
    for kind in _NAMED:
        ids = beginning(db, env, kind, name, limit=limit)
        if ids == [name]:
            return [Named(kind, name)]
        found = {each: Named(kind, each) for each in ids} | found
    return list(found.values())


def costs(
    db: sqlite3.Connection,
    env: str,
    by: Group,
    *,
    since: float | None = None,
    until: float | None = None,
    limit: int = 1_000,
) -> Costs:
    """What tasks have cost, the dearest groups first; days in their order."""
    # The log is read once: the sum of all groups is the total.
    sql = (
        "WITH found (name, tasks, failed, tokens_in, tokens_out, cost, unknown) AS"
        f" (SELECT {_GROUPS[by]}, {_SUMS} FROM message"
        " WHERE kind = 'result' AND env = ? AND time >= ? AND time < ? GROUP BY 1)"
        " SELECT * FROM (SELECT * FROM found ORDER BY cost DESC, tasks DESC, name LIMIT ?)"
        " UNION ALL SELECT count(*), total(tasks), total(failed), total(tokens_in),"
        " total(tokens_out), total(cost), total(unknown) FROM found"
    )
    most = _ALL if by == "day" else limit
    values = (env, since or 0.0, _NEVER if until is None else until, most)
    *found, (several, *sums) = db.execute(sql, values)
    groups, total = [_cost(each) for each in found], _cost(("total", *sums))
    if by != "day":
        return Costs(groups, total, several - len(groups))
    days = _by_day(groups)
    return Costs(days[-limit:], total, max(0, len(days) - limit))


def _cost(values: Sequence[Any]) -> Cost:
    group, tasks, failed, tokens_in, tokens_out, cost, unknown = values
    return Cost(
        str(group), int(tasks), int(failed), int(tokens_in), int(tokens_out), cost, int(unknown)
    )


def _by_day(found: Sequence[Cost]) -> list[Cost]:
    """The sums of quarters of an hour as those of days."""
    days = dict[str, Cost]()
    for each in found:
        day = date.fromtimestamp(float(each.group)).isoformat()
        before = days.get(day, Cost(day, 0, 0, 0, 0, 0.0, 0))
        pairs = zip(astuple(before)[1:], astuple(each)[1:], strict=True)
        days[day] = Cost(day, *(a + b for a, b in pairs))
    return [days[day] for day in sorted(days)]


def _of_agent(agent: str | None) -> list[tuple[str, list[Any]]]:
    """The conditions that find what is of an agent: one for each index."""
    if agent is None:
        return [("1", [])]
    return [
        ("m.source = ? AND m.source_type = 'agent'", [agent]),
        ("m.target = ? AND m.target != ''", [agent]),
    ]


def _terms(where: Filter) -> Iterator[tuple[str, list[Any]]]:
    """The conditions of a filter, with their values."""
    yield "m.env = ?", [where.env]
    stated = (
        (f"m.sequence >= {_AT}", where.since),
        (f"m.sequence < {_AT}", where.until),
        ("m.sequence > ?", where.after),
        ("m.conversation = ?", where.conversation),
        ("m.kind = ?", where.kind),
        ("texts MATCH ?", phrase(where.text) if where.text else None),
    )
    for term, value in stated:
        if value is not None:
            yield term, [value]
    if where.failed:
        yield "m.success = 0", []


def _rows(db: sqlite3.Connection, sql: str, values: Sequence[Any]) -> list[Row]:
    return [_row(each) for each in db.execute(sql, values)]


def _row(values: Sequence[Any]) -> Row:
    row = Row(*values)
    success = None if row.success is None else bool(row.success)
    return row._replace(success=success, text=joined(row.text or ""))


def _is_text(text: str) -> bool:
    """Whether it can be in a database: half a surrogate pair, as in an argument, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
