"""The file of an index: a SQLite database, which is a cache and can be deleted at any time.

It is in the mode WAL, so that any number of processes read it while one writes. What makes it
unreadable (a power cut, a full disk, a stranger) costs only the time to build it again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentd.errors import StartError
from agentd.record.index.rows import Row
from agentd.record.index.texts import spaced

SCHEMA = 1  # in the name of the file: another version of agentd has another file

_KEYS = ("id", "task", "conversation", "parent")
_CACHE = 24 * 1024  # KiB of pages that a writer holds
_PATIENCE = 10.0  # seconds to wait for another process that writes
_KEPT = 30 * 86_400.0  # seconds
_AT_ONCE = 500  # rows of one statement
_PRUNED = 2_000  # rows that are removed in one transaction


COLUMNS = Row._fields[:-2]  # the text and what was erased have tables of their own

_TABLES = f"""
CREATE TABLE message (sequence INTEGER PRIMARY KEY, {", ".join(COLUMNS[1:])});
CREATE VIRTUAL TABLE texts USING fts5 (text, columnsize = 0);
CREATE TABLE wanted (sequence INTEGER PRIMARY KEY, kind, digest);
CREATE TABLE doubtful (first, last);
CREATE TABLE state (position, stamp);
INSERT INTO state VALUES (0, '')
"""
# Made when the log was read for the first time: sorted at once they cost a fifth.
_INDEXES = f"""
{"".join(f"CREATE INDEX IF NOT EXISTS by_{key} ON message ({key}, sequence);" for key in _KEYS)}
CREATE INDEX IF NOT EXISTS by_time ON message (time);
CREATE INDEX IF NOT EXISTS by_source ON message (source, sequence) WHERE source_type = 'agent';
CREATE INDEX IF NOT EXISTS by_target ON message (target, sequence) WHERE target != '';
CREATE INDEX IF NOT EXISTS failures ON message (sequence) WHERE success = 0;
CREATE INDEX IF NOT EXISTS results ON message
    (env, time, source, model, conversation, success, cost, tokens_in, tokens_out)
    WHERE kind = 'result'
"""


class IndexFile:
    """The database at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """A connection that reads, always as the database was at the first question."""
        with self._connected() as db:
            db.execute("PRAGMA query_only = ON")
            db.execute("BEGIN")
            yield db

    @contextlib.contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """A connection that writes; the file is made if there is none.

        Raises:
            StartError: the folder cannot be written, or SQLite has no full-text search.
        """
        self._make_folder()
        with self._connected() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA cache_size = -{_CACHE}")
            with transaction(db):
                if not db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
                    _create(db)
            yield db

    def remove(self) -> None:
        """Deletes the database. Who has it open reads on in what it was."""
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.path}{suffix}")

    @contextlib.contextmanager
    def lock(self) -> Generator[int]:
        """Holds the right to build the index in the block. If another process has it, the block
        gets the id of that process, otherwise 0."""
        self._make_folder()
        lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 20, 0)
            yield int(holder) if holder.isdigit() else -1  # it has not written its id yet
        else:
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
            yield 0
        finally:
            os.close(lock)

    @contextlib.contextmanager
    def _connected(self) -> Generator[sqlite3.Connection]:
        db = sqlite3.connect(
            self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
        )
        try:
            yield db
        finally:
            db.close()

    def _make_folder(self) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite would make it readable for others; its journals get the rights of the file.
            # A file that exists is not opened: closing it would end the locks that SQLite has on
            # it in this process.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
                self._remove_old_ones()
        except OSError as error:
            raise StartError(
                f"cannot write the index of the log: {error.filename}: {error.strerror}; "
                "AGENTD_INDEX names another folder"
            ) from None

    def _remove_old_ones(self) -> None:
        """Removes the indexes of other logs that nobody has read on for a month."""
        for path in self.path.parent.glob("log-*.sqlite*"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < time.time() - _KEPT:
                    path.unlink()


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Generator[None]:
    """Runs a block that writes, wholly or not at all."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def state(db: sqlite3.Connection) -> tuple[int, str]:
    """The sequence of the last message that was read, and its time as the log has it."""
    return db.execute("SELECT position, stamp FROM state").fetchone()


def add(db: sqlite3.Connection, found: Sequence[Row], position: int, stamp: str) -> None:
    """Adds messages, after which the log was read up to `position`."""
    with transaction(db):
        done, _ = state(db)
        new = [row for row in found if row.sequence > done]
        _insert(db, "message", COLUMNS, [row[:-2] for row in new])
        texts = [(row.sequence, spaced(row.text)) for row in new if row.text]
        _insert(db, "texts", ("rowid", "text"), texts)
        objects = [(row.sequence, row.kind, row.object) for row in new if row.object]
        _insert(db, "wanted", ("sequence", "kind", "digest"), objects)
        _insert(db, "doubtful", ("first", "last"), [each for row in new for each in row.erased])
        if position > done:
            db.execute("UPDATE state SET position = ?, stamp = ?", (position, stamp))


def finish(db: sqlite3.Connection) -> None:
    """Makes what was read quick to find."""
    with transaction(db):
        _run(db, _INDEXES)


def wanted(db: sqlite3.Connection, most: int) -> list[tuple[int, str, str]]:
    """The newest messages whose content in the object store was not read yet: their sequences,
    kinds and digests."""
    sql = "SELECT sequence, kind, digest FROM wanted ORDER BY sequence DESC LIMIT ?"
    return db.execute(sql, (most,)).fetchall()


def complete(db: sqlite3.Connection, sequence: int, columns: Mapping[str, Any], text: str) -> None:
    """Adds what a content in the object store says."""
    with transaction(db):
        if not db.execute("DELETE FROM wanted WHERE sequence = ?", (sequence,)).rowcount:
            return
        for name, value in columns.items():
            if value not in (None, ""):
                db.execute(f"UPDATE message SET {name} = ? WHERE sequence = ?", (value, sequence))
        if text:
            _insert(db, "texts", ("rowid", "text"), [(sequence, spaced(text))])


def doubtful(db: sqlite3.Connection, most: int) -> tuple[list[int], tuple[int, int]]:
    """At most so many messages of one range that an event says were erased, and that range."""
    if found := db.execute("SELECT first, last FROM doubtful LIMIT 1").fetchone():
        sql = "SELECT sequence FROM message WHERE sequence BETWEEN ? AND ? ORDER BY 1 LIMIT ?"
        return [each for (each,) in db.execute(sql, (*found, most))], found
    return [], (0, 0)


def checked(db: sqlite3.Connection, of: tuple[int, int], last: int) -> None:
    """Notes that a range that `doubtful` gave was checked, up to the sequence `last`."""
    with transaction(db):
        db.execute("UPDATE doubtful SET first = ? WHERE first = ? AND last = ?", (last + 1, *of))
        db.execute("DELETE FROM doubtful WHERE first > last")


def prune(db: sqlite3.Connection, first: int) -> None:
    """Removes what the log no longer has: everything before the sequence `first`."""
    before = "SELECT sequence FROM message WHERE sequence < ? ORDER BY sequence LIMIT ?"
    while old := [each for (each,) in db.execute(before, (first, _PRUNED))]:
        forget(db, old)


def forget(db: sqlite3.Connection, sequences: Iterable[int]) -> None:
    """Removes messages, with their texts."""
    ids = [(each,) for each in sequences]
    with transaction(db):
        for table, key in (("texts", "rowid"), ("wanted", "sequence"), ("message", "sequence")):
            db.executemany(f"DELETE FROM {table} WHERE {key} = ?", ids)


def erase(db: sqlite3.Connection, sequences: Iterable[int]) -> None:
    """Removes messages so that nothing of them is left in the file."""
    db.execute("PRAGMA secure_delete = ON")
    forget(db, sequences)
    with transaction(db):
        # Until parts of the search are merged, words of a removed text stay in the old ones.
        db.execute("INSERT INTO texts (texts) VALUES ('optimize')")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _insert(
    db: sqlite3.Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Inserts many rows with one statement. Python's lock is free while SQLite works: a statement
    for each row would wait for it each time."""
    row = f"({', '.join('?' * len(columns))})"
    names = ", ".join(f'"{name}"' for name in columns)
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        db.execute(
            f"INSERT INTO {table} ({names}) VALUES {', '.join([row] * len(part))}",
            [value for each in part for value in each],
        )


def _create(db: sqlite3.Connection) -> None:
    try:
        _run(db, _TABLES)
    except sqlite3.OperationalError as error:
        if "fts5" in str(error):
            problem = "the SQLite of this Python has no full-text search (FTS5)"
            raise StartError(f"{problem}, which the index of the log needs") from None
        raise


def _run(db: sqlite3.Connection, script: str) -> None:
    """Runs statements. `executescript` would commit first."""
    for statement in script.split(";"):
        db.execute(statement)
