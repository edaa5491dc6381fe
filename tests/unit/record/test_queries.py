"""The questions that the index answers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from agentd.record import queries
from agentd.record.index import file as files
from agentd.record.index.rows import Row
from agentd.record.queries import Cost, Filter, Named

DAY = 86_400.0
A, B = "a" * 32, "ab" + "b" * 30

ROWS = [
    Row(1, 0.0, "dev", "task", "x.y", id=A, task=A, conversation="c1", text="What is new?"),
    Row(2, 1.0, "dev", "event", f"run.{A}", id="e1", task=A, parent=A, conversation="c1"),
    Row(
        3, 2.0, "dev", "result", "x.y", id="r1", task=A, parent=A, conversation="c1",
        source="analyst", source_type="agent", success=True, model="m1",
        tokens_in=10, tokens_out=2, cost=0.5, text="Revenue grew.",
    ),
    Row(
        4, 3.0, "dev", "task", "z.y", id=B, task=B, parent=A, conversation="c1",
        source="analyst", source_type="agent", target="checker",
    ),
    Row(
        5, DAY, "dev", "result", "z.y", id="r2", task=B, parent=B, conversation="c1",
        source="checker", source_type="agent", success=False, code="timeout", model="m2",
    ),
    Row(
        6, DAY, "dev", "result", "x.y", id="r3", task="t3", conversation="c2",
        source="analyst", source_type="agent", success=True, model="m2", cost=0.25,
    ),
    Row(7, DAY, "prod", "task", "x.y", id=A, task=A, conversation="c1", text="What is new?"),
]  # fmt: skip


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with files.IndexFile(tmp_path / "x").writing() as db:
        files.add(db, ROWS, 7, "")
        yield db


def numbers(rows: list[Row]) -> list[int]:
    return [row.sequence for row in rows]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"since": 2.0, "until": DAY}, [3, 4]),
        ({"after": 4}, [5, 6]),
        ({"agent": "checker"}, [4, 5]),
        ({"conversation": "c2"}, [6]),
        ({"kind": "task"}, [1, 4]),
        ({"failed": True}, [5]),
        ({"text": "WHAT is"}, [1]),
        ({"text": "revenue", "agent": "analyst"}, [3]),
        ({"text": "?"}, []),
    ],
)
def test_messages_are_filtered(
    db: sqlite3.Connection, where: dict[str, object], found: list[int]
) -> None:
    assert numbers(queries.messages(db, Filter(env="dev", **where))) == found  # type: ignore[arg-type]


def test_the_newest_messages_are_shown_in_their_order(db: sqlite3.Connection) -> None:
    assert numbers(queries.messages(db, Filter(env="dev"), limit=2)) == [5, 6]


def test_a_row_is_what_was_added(db: sqlite3.Connection) -> None:
    assert queries.messages(db, Filter(env="dev")) == ROWS[:-1]


def test_a_conversation_a_task_and_a_message(db: sqlite3.Connection) -> None:
    assert numbers(queries.of_conversation(db, "dev", "c1")) == [1, 2, 3, 4, 5]
    assert numbers(queries.of_conversation(db, "dev", "c1", limit=1)) == [5]
    assert numbers(queries.of_task(db, "dev", A)) == [1, 2, 3, 4]
    assert numbers(queries.with_id(db, "dev", A)) == [1]
    assert queries.at(db, 3) == ROWS[2]
    assert queries.at(db, 99) is None


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (A, [Named("task", A)]),
        ("aa", [Named("task", A)]),
        ("a", [Named("task", A), Named("task", B)]),
        ("c", [Named("conversation", "c1"), Named("conversation", "c2")]),
        ("c1", [Named("conversation", "c1")]),
        ("r2", [Named("message", "r2")]),
        ("%", []),
    ],
)
def test_the_beginning_of_an_id_names_it(
    db: sqlite3.Connection, name: str, found: list[Named]
) -> None:
    assert queries.named(db, "dev", name) == found


def test_what_is_about_a_conversation_is_near_a_message(db: sqlite3.Connection) -> None:
    """A decision of a person is about a task, and belongs to no conversation."""
    decision = Row(8, DAY, "dev", "event", f"approval.{B}", task=B, conversation="system")
    foreign = Row(9, DAY, "prod", "event", f"approval.{B}", task=B, conversation="system")
    files.add(db, [decision, foreign], 9, "")

    assert queries.around(db, "dev", "c1", 0) == [1, 2, 3, 4, 5, 8]
    assert queries.around(db, "dev", "c1", 4, limit=3) == [3, 4, 5]
    assert queries.around(db, "dev", "nowhere", 4) == []


def test_the_ids_of_one_kind(db: sqlite3.Connection) -> None:
    assert queries.beginning(db, "dev", "conversation", "c") == ["c1", "c2"]
    assert queries.beginning(db, "dev", "task", "aa") == [A]
    assert queries.beginning(db, "dev", "task", "") == []
    assert queries.beginning(db, "dev", "task", "\udcff") == []


def test_costs_by_group(db: sqlite3.Connection) -> None:
    found = queries.costs(db, "dev", "agent")
    assert found.groups == [
        Cost("analyst", 2, 0, 10, 2, 0.75, 0),
        Cost("checker", 1, 1, 0, 0, 0.0, 1),
    ]
    assert found.total == Cost("total", 3, 1, 10, 2, 0.75, 1)
    assert found.more == 0
    assert groups(db, "model") == ["m1", "m2"]
    assert groups(db, "conversation") == ["c1", "c2"]


def test_the_dearest_groups_are_shown(db: sqlite3.Connection) -> None:
    found = queries.costs(db, "dev", "conversation", limit=1)

    assert ([each.group for each in found.groups], found.more) == (["c1"], 1)
    assert found.total.tasks == 3


def test_costs_of_a_time(db: sqlite3.Connection) -> None:
    assert queries.costs(db, "dev", "agent", since=DAY).total.tasks == 2
    assert queries.costs(db, "dev", "agent", until=DAY).total.tasks == 1
    assert queries.costs(db, "dev", "agent", until=1.0).total == Cost("total", 0, 0, 0, 0, 0.0, 0)


def test_costs_by_day_are_in_their_order(db: sqlite3.Connection) -> None:
    days = [date.fromtimestamp(each).isoformat() for each in (2.0, DAY)]

    assert groups(db, "day") == days
    assert queries.costs(db, "dev", "day", limit=1).groups[0].group == days[1]


def groups(db: sqlite3.Connection, by: queries.Group) -> list[str]:
    return [each.group for each in queries.costs(db, "dev", by).groups]
