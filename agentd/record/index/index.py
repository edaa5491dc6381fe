"""The index of one log: brought up to date when somebody asks, and asked."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from agentd.errors import AgentdError
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg, status_of
from agentd.nats.streams import LOG
from agentd.protocol.server_subjects import direct_get
from agentd.record.index import file as files
from agentd.record.index.file import SCHEMA, IndexFile
from agentd.record.index.reader import batches
from agentd.record.index.rows import Row, row_of

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_PAUSE = 0.1  # seconds between two looks at what another process builds


class Index:
    """The index of the log that `bus` reaches, in a file in `folder`."""

    def __init__(self, bus: Bus, folder: Path) -> None:
        self._bus = bus
        self._folder = folder
        self._updating = asyncio.Lock()

    async def ask(self, question: Callable[[sqlite3.Connection], _T]) -> _T:
        """What `question` finds in the index (see `record.queries`), up to date.

        Raises:
            StartError: the index cannot be written.
            BusError: the server does not answer.
        """
        file = await self.update()
        try:
            return await asyncio.to_thread(_asked, file, question)
        except sqlite3.DatabaseError as error:
            _repaired(file, error)
        return await asyncio.to_thread(_asked, await self.update(), question)

    async def update(self) -> IndexFile:
        """Reads the log on from where the index stopped.

        Raises:
            StartError, BusError: as `ask`.
        """
        async with self._updating:
            while True:
                info = await jetstream.api(self._bus, f"STREAM.INFO.{LOG}")
                file = IndexFile(self._folder / _name(info))
                with file.lock() as is_ours:
                    if is_ours:
                        await self._build(file, info)
                        return file
                # Another process builds it: that one may die, so look again.
                await asyncio.sleep(_PAUSE)

    async def _build(self, file: IndexFile, info: Mapping[str, Any]) -> None:
        for _ in range(2):
            try:
                with file.writing() as db:
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
        wanted = json.dumps({"seq": position}).encode()
        found = await self._bus.request(direct_get(LOG), wanted)
        return bool(status_of(found)) or (found.headers or {})["Nats-Time-Stamp"] == stamp

    async def _read_on(self, db: sqlite3.Connection, first: int) -> None:
        position, _ = files.state(db)
        async for batch in batches(self._bus, LOG, position + 1):
            await asyncio.to_thread(_add, db, batch)
        await asyncio.to_thread(files.prune, db, first)


def _asked(file: IndexFile, question: Callable[[sqlite3.Connection], _T]) -> _T:
    with file.reading() as db:
        return question(db)


def _add(db: sqlite3.Connection, batch: Sequence[Msg]) -> None:
    headers = batch[-1].headers or {}
    files.add(db, list(_rows(batch)), int(headers["Nats-Sequence"]), headers["Nats-Time-Stamp"])


def _rows(batch: Sequence[Msg]) -> list[Row]:
    return [row for msg in batch if (row := row_of(msg))]


def _repaired(file: IndexFile, error: sqlite3.DatabaseError) -> None:
    """Deletes a file that cannot be read, to be built again.

    Raises:
        AgentdError: the file is not to blame: the disk is full, for example.
    """
    if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
        raise AgentdError(f"the index of the log: {file.path}: {error}") from error
    log.warning("the index of the log is built again: %s: %s", file.path, error)
    file.remove()


def _name(info: Mapping[str, Any]) -> str:
    """The file of a log, by the time at which it was made."""
    of = hashlib.sha256(str(info["created"]).encode()).hexdigest()[:16]
    return f"log-{SCHEMA}-{of}.sqlite"
