"""The database of an index."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from agentd.errors import StartError
from agentd.record.index import file as files
from agentd.record.index.file import IndexFile
from agentd.record.index.rows import Row

DIGEST = f"sha256:{'a' * 64}"


def row(sequence: int, **fields: object) -> Row:
    return Row(sequence, float(sequence), "dev", "task", "a.b", **fields)  # type: ignore[arg-type]


def found(db: sqlite3.Connection, word: str) -> list[int]:
    sql = "SELECT rowid FROM texts WHERE texts MATCH ?"
    return [sequence for (sequence,) in db.execute(sql, (word,))]


@pytest.fixture
def file(tmp_path: Path) -> IndexFile:
    return IndexFile(tmp_path / "folder" / "x.sqlite")


def test_only_its_owner_can_read_it(file: IndexFile) -> None:
    with file.writing() as db:
        files.add(db, [row(1)], 1, "")
        for path in file.path.parent.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700


def test_what_was_read_before_is_not_added_again(file: IndexFile) -> None:
    with file.writing() as db:
        files.add(db, [row(1), row(2, text="old")], 2, "a")
        files.add(db, [row(2, text="new"), row(3, text="new")], 3, "b")

        assert files.state(db) == (3, "b")
        assert (found(db, "old"), found(db, "new")) == ([2], [3])


def test_who_was_slower_changes_nothing(file: IndexFile) -> None:
    with file.writing() as db:
        files.add(db, [row(5)], 5, "a")
        files.add(db, [row(3)], 3, "b")

        assert files.state(db) == (5, "a")
        assert db.execute("SELECT count(*) FROM message").fetchone() == (1,)


def test_a_content_of_the_object_store_is_added_once(file: IndexFile) -> None:
    with file.writing() as db:
        files.add(db, [row(1, object=DIGEST)], 1, "")
        for text in ("first", "second"):
            files.complete(db, 1, {"name": text, "cost": None}, text)

        assert db.execute("SELECT name, cost FROM message").fetchone() == ("first", None)
        assert (found(db, "first"), found(db, "second")) == ([1], [])


def test_what_the_log_no_longer_has_is_removed(file: IndexFile) -> None:
    with file.writing() as db:
        files.add(db, [row(n, text="word", object=DIGEST) for n in range(1, 5_001)], 5_000, "")
        files.prune(db, 5_000)

        assert found(db, "word") == [5_000]
        assert db.execute("SELECT sequence FROM message").fetchall() == [(5_000,)]
        assert db.execute("SELECT sequence FROM wanted").fetchall() == [(5_000,)]


def test_nothing_of_an_erased_message_is_left(file: IndexFile) -> None:
    with file.writing() as db:
        files.add(db, [row(n, text=f"secretword{n}", id=f"secretid{n}") for n in (1, 2)], 2, "")
        files.finish(db)
        files.erase(db, [1])

        assert (found(db, "secretword1"), found(db, "secretword2")) == ([], [2])
    data = b"".join(path.read_bytes() for path in file.path.parent.iterdir())
    assert b"secretword2" in data
    assert b"secretid2" in data
    assert b"secretword1" not in data
    assert b"secretid1" not in data


def test_what_may_be_erased_is_checked_in_parts(file: IndexFile) -> None:
    with file.writing() as db:
        said = row(9, erased=((2, 4), (7, 7)))
        files.add(db, [*(row(n) for n in range(1, 9)), said], 9, "")

        assert files.doubtful(db, 2) == ([2, 3], (2, 4))
        files.checked(db, (2, 4), 3)
        assert files.doubtful(db, 2) == ([4], (4, 4))
        files.checked(db, (4, 4), 4)
        assert files.doubtful(db, 2) == ([7], (7, 7))
        files.checked(db, (7, 7), 7)
        assert files.doubtful(db, 2) == ([], (0, 0))


def test_the_newest_contents_are_read_first(file: IndexFile) -> None:
    with file.writing() as db:
        files.add(db, [row(n, object=DIGEST) for n in (1, 2, 3)], 3, "")

        assert files.wanted(db, 2) == [(3, "task", DIGEST), (2, "task", DIGEST)]


def test_one_process_builds_at_a_time(file: IndexFile) -> None:
    with file.lock() as first, file.lock() as second:
        assert (first, second) == (0, os.getpid())
    with file.lock() as third:
        assert third == 0


def test_a_reader_cannot_write(file: IndexFile) -> None:
    with file.writing():
        pass
    with file.reading() as db, pytest.raises(sqlite3.OperationalError):
        db.execute("DELETE FROM message")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "no").write_text("a file")

    with (
        pytest.raises(StartError, match="AGENTD_INDEX names another"),
        IndexFile(tmp_path / "no" / "x").writing(),
    ):
        pass


def test_indexes_of_other_logs_go_after_a_month(tmp_path: Path) -> None:
    old, new, foreign = (tmp_path / name for name in ("log-1-a.sqlite", "log-1-b.sqlite", "x"))
    for path in (old, new, foreign):
        path.touch()
    for path in (old, foreign):
        os.utime(path, (0, 0))

    with IndexFile(tmp_path / "log-1-c.sqlite").writing():
        pass

    assert [path.exists() for path in (old, new, foreign)] == [False, True, True]
