"""Records that strangers may have written: one that cannot be read is skipped and named, once.

Any client that may write to a stream or a bucket can store anything there. What it stores may cost
its reader a warning, and never the other records. So every reader reads each record in a block of
`skipping`. Of many such records the first few are named, and the others are counted.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import logging
import re
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from agentd.errors import AgentdError, BusError, DecodeError
from agentd.nats.bus import Msg

log = logging.getLogger(__name__)

_Record = TypeVar("_Record")

LISTED = 1_000  # records in a list for a person
_REMEMBERED = 4096  # records that were named before
_LONGEST = 200  # characters of a subject and of a mistake
_NO_ROOM = "there are more records, or larger ones, than agentd reads here"
_HEADER = re.compile(r"^([^:\r\n]+):[ ]*(.*?)\r?$", re.MULTILINE)
_FEW, _WINDOW = 10, 60.0  # records of one place that are named, in so many seconds


@contextlib.contextmanager
def skipping(where: str, msg: Msg) -> Generator[None]:
    """Runs a block that reads `msg`, one record of a stream or bucket.

    Whatever the record makes it raise ends the block and is logged, once for a record. Check what
    a block will use in the block: only there a mistake costs one record.

    Raises:
        BusError: the server does not answer; the record is not to blame.
    """
    try:
        yield
    except BusError:
        raise
    except Exception as error:  # noqa: BLE001 - no list of errors is complete for arbitrary bytes
        headers = msg.headers or {}
        skipped(
            where, headers.get("Nats-Subject", msg.subject), error, headers.get("Nats-Sequence")
        )


def skipped(where: str, subject: str, error: Exception, sequence: object = None) -> None:
    """Logs that a record is skipped because of `error`, unless that was logged before."""
    if next(_times(where, subject, sequence)) or not _windows[where].has_room(where):
        return
    place = subject[:_LONGEST] + (f", sequence {sequence}" if sequence else "")
    kind = "" if isinstance(error, AgentdError) else f"{type(error).__name__}: "
    log.warning("%s: %s is skipped: %s%s", where, place, kind, str(error)[:_LONGEST])


@dataclass
class Room:
    """How much is read of what anyone may have written in one place: so many records and bytes."""

    records: int = 10_000
    size: int = 64 * 1024**2

    def take(self, size: int, *, records: int = 1) -> None:
        """Takes the room of a record.

        Raises:
            DecodeError: there is no room left; to be raised in a block of `skipping`.
        """
        self.records -= records
        self.size -= size
        if self.records < 0 or self.size < 0:
            raise DecodeError(_NO_ROOM)


class Newest:
    """The newest records of one place, as many as there is room for; `where` is its name.

    Own records are written again and again, so those of a stranger become the oldest.
    """

    def __init__(self, where: str, *, records: int = 10_000, size: int = 64 * 1024**2) -> None:
        self._where = where
        self._records = records
        self._room = size
        self._kept: deque[Msg] = deque()

    def __iter__(self) -> Iterator[Msg]:
        return iter(self._kept)

    def add(self, msg: Msg) -> None:
        """Adds a record, which is newer than those before."""
        self._kept.append(msg)
        self._room -= len(msg.data)
        while self._room < 0 or len(self._kept) > self._records:
            oldest = self._kept.popleft()
            self._room += len(oldest.data)
            with skipping(self._where, oldest):
                raise DecodeError(_NO_ROOM)


async def shortlist(
    found: AsyncIterator[_Record],
    order: Callable[[_Record], Any],
    size: Callable[[_Record], int],
    *,
    records: int = LISTED,
    room: int = 64 * 1024**2,
) -> tuple[list[_Record], int]:
    """The first records in an order, as many as there is room for, and how many there are in all.

    `size` has the bytes of a record.
    """
    kept: list[_Record] = []
    total = held = 0
    async for each in found:
        kept.append(each)
        total += 1
        held += size(each)
        if len(kept) > 2 * records or held > 2 * room:
            held = _shorten(kept, order, size, records, room)
    _shorten(kept, order, size, records, room)
    return kept, total


def _shorten(
    kept: list[_Record],
    order: Callable[[_Record], Any],
    size: Callable[[_Record], int],
    records: int,
    room: int,
) -> int:
    """Sorts the records, and removes those at the end for which there is no room. Returns the bytes
    of the others."""
    kept.sort(key=order)
    held = 0
    for number, each in enumerate(kept):
        if number and (number == records or held + size(each) > room):
            del kept[number:]
            break
        held += size(each)
    return held


def report_skipped() -> None:
    """Logs how many records were not named; to be called before a short command ends."""
    for where, window in _windows.items():
        window.report(where)


def forget() -> None:
    """Forgets what was skipped and named."""
    _windows.clear()
    _times.cache_clear()


@dataclass
class _Window:
    """The records of one place that were skipped in the last minute."""

    began: float = -_WINDOW
    named: int = 0
    others: int = 0

    def has_room(self, where: str) -> bool:
        """Whether one more record may be named. Otherwise it is counted."""
        now = time.monotonic()
        if now >= self.began + _WINDOW:
            self.report(where)
            self.began, self.named = now, 0
        if self.named < _FEW:
            self.named += 1
            return True
        if not self.others:
            with contextlib.suppress(RuntimeError):  # no loop runs: `report_skipped` will do
                loop = asyncio.get_running_loop()
                loop.call_later(self.began + _WINDOW - now, self.report, where)
        self.others += 1
        return False

    def report(self, where: str) -> None:
        if self.others:
            log.warning("%s: %d more records are skipped", where, self.others)
            self.others = 0


_windows: defaultdict[str, _Window] = defaultdict(_Window)


@lru_cache(maxsize=_REMEMBERED)
def _times(where: str, subject: str, sequence: object) -> Iterator[int]:
    """Counts how often a record was found unreadable."""
    return itertools.count()


def headers_in(encoded: str) -> dict[str, str]:
    """The headers of a message that the server gives by its sequence: the line `NATS/1.0`, then one
    `Name: value` per line."""
    return dict(_HEADER.findall(base64.b64decode(encoded).decode(errors="replace")))
