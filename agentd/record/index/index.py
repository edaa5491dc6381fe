"""The index of one log: brought up to date when somebody asks, and asked."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import pickle
import sqlite3
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from agentd.errors import AgentdError, TaskError
from agentd.nats import jetstream, objects
from agentd.nats.bus import Bus, Msg, status_of
from agentd.nats.records import skipped
from agentd.nats.streams import LOG
from agentd.protocol.server_subjects import direct_get
from agentd.record.index import file as files
from agentd.record.index.file import SCHEMA, IndexFile
from agentd.record.index.reader import batches
from agentd.record.index.rows import Row, about_object, row_of
from agentd.settings import Settings

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_PAUSE = 0.1  # seconds between two looks at what another process builds
_PATIENCE = 120.0  # seconds in which it must go on
# How much one update does of what may be left for the next one: messages to check, and seconds to
# read contents from the object store.
_CHECKED, _TIME = 10_000, 1.0
_FAR = 10_000  # messages that take more than a moment
_DAMAGE = ("malformed", "no such table", "no such column", "vtable constructor failed")
_AT_ONCE = 32  # messages or contents that are asked for at the same time
_LARGEST = 1024**2  # bytes of a content


class Index:
    """The index of the log that `bus` reaches, in a file in `folder`.

    A process that has other work to do gives its settings: then a process of its own reads what
    takes more than a moment.
    """

    def __init__(self, bus: Bus, folder: Path, *, apart: Settings | None = None) -> None:
        self._bus = bus
        self._folder = folder
        self._apart = apart
        self._updating = asyncio.Lock()

    async def ask(self, question: Callable[[sqlite3.Connection], _T]) -> _T:
        """What `question` finds in the index (see `record.queries`), up to date.

        Raises:
            StartError: the index cannot be written.
            BusError: the server does not answer.
        """
        file = await self.update()
        try:
            return await _in_thread(_asked, file, question)
        except sqlite3.DatabaseError as error:
            _repaired(file, error)
        return await _in_thread(_asked, await self.update(), question)

    async def update(self) -> IndexFile:
        """Reads the log on from where the index stopped.

        Raises:
            StartError, BusError: as `ask`.
        """
        async with self._updating:
            seen, deadline = -1, 0.0
            while True:
                info = await jetstream.api(self._bus, f"STREAM.INFO.{LOG}")
                file = IndexFile(self._folder / _name(info))
                read = await _in_thread(_position, file)
                behind = info["state"]["last_seq"] - max(read, info["state"]["first_seq"])
                if self._apart and behind > _FAR:
                    await self._in_a_process(self._apart)
                with file.lock() as holder:
                    if not holder:
                        await self._build(file, info)
                        return file
                # The other process may end, or have been stopped.
                if read > seen:
                    seen, deadline = read, time.monotonic() + _PATIENCE
                elif time.monotonic() > deadline:
                    raise AgentdError(f"process {holder} holds {file.path}, and does not go on")
                await asyncio.sleep(_PAUSE)

    async def _in_a_process(self, settings: Settings) -> None:
        """Reads on in another process. What that did not read is read here."""
        command = (sys.executable, "-m", "agentd.record.index.child")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stderr=pipe)
        try:
            _, said = await process.communicate(
                pickle.dumps(replace(settings, index=str(self._folder)))
            )
        except asyncio.CancelledError:
            process.kill()
            raise
        if process.returncode:
            log.warning("the index of the log: %s", said.decode(errors="replace").strip()[-500:])

    async def _build(self, file: IndexFile, info: Mapping[str, Any]) -> None:
        for _ in range(2):
            try:
                async with _writing(file) as db:
                    if await self._continues(db, info["state"]["last_seq"]):
                        await self._read_on(db, info["state"]["first_seq"])
                        return
                file.remove()
            except sqlite3.DatabaseError as error:
                _repaired(file, error)

    async def _continues(self, db: sqlite3.Connection, last: int) -> bool:
        """Whether what was read is of this log: not of one that was restored, or made again."""
        position, stamp = files.state(db)
        if not position:
            return True
        if position > last:
            return False
        found = await self._at(position)
        return found is None or found.get("Nats-Time-Stamp") == stamp

    async def _read_on(self, db: sqlite3.Connection, first: int) -> None:
        """Reads what is new. While a batch is written, the next one becomes rows."""
        position, _ = files.state(db)
        writing = asyncio.create_task(asyncio.sleep(0))
        try:
            async for batch in batches(self._bus, LOG, position + 1):
                rows = await _in_thread(_rows, batch)
                await writing
                writing = asyncio.create_task(_in_thread(_add, db, rows, batch[-1]))
        finally:
            await writing
        await _in_thread(files.finish, db)
        await _in_thread(files.prune, db, first)
        await self._erase(db)
        await self._complete(db)

    async def _erase(self, db: sqlite3.Connection) -> None:
        """Removes what was erased from the log: an event says so, and it is not there."""
        left = _CHECKED
        while left > 0:
            sequences, of = await _in_thread(files.doubtful, db, _AT_ONCE)
            if not any(of):
                return
            there = await asyncio.gather(*(self._at(each) for each in sequences))
            gone = [each for each, msg in zip(sequences, there, strict=True) if msg is None]
            if gone:
                await _in_thread(files.erase, db, gone)
            last = sequences[-1] if len(sequences) == _AT_ONCE else of[1]
            await _in_thread(files.checked, db, of, last)
            left -= max(1, len(sequences))

    async def _complete(self, db: sqlite3.Connection) -> None:
        """Adds the contents in the object store, as many as there is time for."""
        deadline = time.monotonic() + _TIME
        while time.monotonic() < deadline:
            some = await _in_thread(files.wanted, db, _AT_ONCE)
            if not some:
                return
            contents = await asyncio.gather(*(self._content(digest) for _, _, digest in some))
            for (sequence, kind, _), data in zip(some, contents, strict=True):
                await _in_thread(_complete, db, sequence, kind, data)

    async def _content(self, digest: str) -> bytes:
        """A content in the object store; nothing if it is not there, or too large."""
        with contextlib.suppress(TaskError):
            return await objects.fetch(self._bus, digest, most=_LARGEST)
        return b""

    async def _at(self, sequence: int) -> Mapping[str, str] | None:
        """The headers of a message of the log; None if it is not there."""
        found = await self._bus.request(direct_get(LOG), json.dumps({"seq": sequence}).encode())
        return None if status_of(found) else found.headers or {}


@contextlib.asynccontextmanager
async def _writing(file: IndexFile) -> AsyncGenerator[sqlite3.Connection]:
    """A connection that writes. To open and to close it may wait for the disk."""
    opened = file.writing()
    db = await _in_thread(opened.__enter__)
    try:
        yield db
    finally:
        await _in_thread(opened.__exit__, None, None, None)


async def _in_thread(work: Callable[..., _T], *args: Any) -> _T:
    """Runs `work` in a thread. A cancellation waits for its end: a database cannot be closed while
    it is used."""
    thread = asyncio.create_task(asyncio.to_thread(work, *args))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait([thread])
        raise


def _position(file: IndexFile) -> int:
    """Up to which sequence the log was read; 0 if the file does not say."""
    if file.path.exists():
        with contextlib.suppress(sqlite3.DatabaseError), file.reading() as db:
            return files.state(db)[0]
    return 0


def _asked(file: IndexFile, question: Callable[[sqlite3.Connection], _T]) -> _T:
    with file.reading() as db:
        return question(db)


def _add(db: sqlite3.Connection, rows: Sequence[Row], last: Msg) -> None:
    headers = last.headers or {}
    files.add(db, rows, int(headers["Nats-Sequence"]), headers["Nats-Time-Stamp"])


def _complete(db: sqlite3.Connection, sequence: int, kind: str, data: bytes) -> None:
    files.complete(db, sequence, *about_object(kind, data))


def _rows(batch: Sequence[Msg]) -> list[Row]:
    return [row for msg in batch if (row := _row(msg))]


def _row(msg: Msg) -> Row | None:
    """The row of a message. One that cannot be read costs only itself."""
    try:
        return row_of(msg)
    except Exception as error:  # noqa: BLE001 - no list of errors is complete for arbitrary bytes
        headers = msg.headers or {}
        skipped(LOG, headers.get("Nats-Subject", ""), error, headers.get("Nats-Sequence"))
        return None


def _repaired(file: IndexFile, error: sqlite3.DatabaseError) -> None:
    """Deletes a file that is damaged, to be built again.

    Raises:
        AgentdError: the file is not to blame: the disk is full, for example.
    """
    is_damage = type(error) in (sqlite3.DatabaseError, sqlite3.IntegrityError)
    if not is_damage and not any(sign in str(error) for sign in _DAMAGE):
        raise AgentdError(f"the index of the log: {file.path}: {error}") from error
    log.warning("the index of the log is built again: %s: %s", file.path, error)
    file.remove()


def _name(info: Mapping[str, Any]) -> str:
    """The file of a log, by the time at which it was made."""
    of = hashlib.sha256(str(info["created"]).encode()).hexdigest()[:16]
    return f"log-{SCHEMA}-{of}.sqlite"
