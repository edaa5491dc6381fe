"""Tasks in one line each, as the index finds them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentd.record.index import file as files
from agentd.record.index.rows import Row
from agentd.record.queries import Filter
from agentd.record.tasks import TaskRow, tasks

A, B, C, D = ("a" * 32, "b" * 32, "c" * 32, "d" * 32)


def task(sequence: int, name: str, text: str, **more: Any) -> Row:
    given: dict[str, Any] = {"id": name, "task": name, "conversation": "k"}
    given |= {"source": "ann", "text": text}
    return Row(sequence, float(sequence), "dev", "task", "x.y", **{**given, **more})


def result(sequence: int, name: str, text: str, **more: Any) -> Row:
    given: dict[str, Any] = {"task": name, "conversation": "k", "source": "analyst"}
    given |= {"source_type": "agent", "text": text, "success": True}
    return Row(sequence, float(sequence), "dev", "result", "x.y", **{**given, **more})


ROWS = [
    task(1, A, "What is new?"),
    result(2, A, "Revenue grew.", tokens_in=10, tokens_out=2, cost=0.5, latency=70.0, revision="r"),
    task(3, B, "And costs?", target="checker"),
    result(4, B, "", success=False, code="timeout"),
    task(5, C, "Still open", target="checker"),
    result(6, D, "Made of facts."),  # a join has no task on record
    result(7, B, "Costs fell.", id="second life"),
    task(8, A, "Of another environment")._replace(env="prod"),
]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with files.IndexFile(tmp_path / "x").writing() as db:
        files.add(db, ROWS, 8, "")
        yield db


def names(found: list[TaskRow]) -> list[str]:
    return [each.task for each in found]


def test_a_task_is_its_question_and_its_newest_result(db: sqlite3.Connection) -> None:
    found = {each.task: each for each in tasks(db, Filter(env="dev"))}
    assert found.keys() == {A, B, C, D}
    one = found[A]
    assert (one.asked, one.text, one.agent, one.success) == (
        "What is new?",
        "Revenue grew.",
        "analyst",
        True,
    )
    assert (one.tokens, one.cost, one.latency, one.revision) == (12, 0.5, 70.0, "r")
    assert (one.at, one.ended, one.source) == (1.0, 2.0, "ann")
    assert (found[B].success, found[B].text) == (True, "Costs fell.")
    assert (found[C].success, found[C].agent, found[C].ended) == (None, "checker", None)
    assert (found[D].asked, found[D].text) == ("", "Made of facts.")


def test_the_newest_come_first_and_so_many(db: sqlite3.Connection) -> None:
    assert names(tasks(db, Filter(env="dev"))) == [D, C, B, A]
    assert len(tasks(db, Filter(env="dev"), limit=2)) == 2


@pytest.mark.parametrize(
    ("where", "waiting", "found"),
    [
        ({"text": "revenue"}, False, [A]),
        ({"text": "open"}, False, [C]),
        ({"text": "nowhere"}, False, []),
        ({"agent": "checker"}, False, [C, B]),
        ({"failed": True}, False, [B]),
        ({}, True, [C]),
        ({"since": 6.0}, False, [D, B]),
    ],
)
def test_tasks_are_found(
    db: sqlite3.Connection, where: dict[str, Any], waiting: bool, found: list[str]
) -> None:
    assert names(tasks(db, Filter(env="dev", **where), waiting=waiting)) == found
