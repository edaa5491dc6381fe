"""The new files of a folder: each once it is complete, and none outside of the folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import fnmatch
import os
import signal
import stat
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

# Seconds for which a file must not have changed. Where the system can say that nobody writes to a
# file, that is asked too; on network file systems this time has to do.
QUIET = 1.0

# Seconds after which files are compared although no file came or went: one may have been rewritten.
_COMPARE = 10.0

# What programs call a file that they have not finished.
_UNFINISHED = ("~", ".tmp", ".temp", ".part", ".partial", ".crdownload", ".download", ".swp")


@dataclass(frozen=True)
class Look:
    """One state of a file. Two looks that are equal are at the same content."""

    inode: int
    size: int
    modified: int  # in nanoseconds
    changed: int  # in nanoseconds, also by a rename

    @classmethod
    def at(cls, found: os.stat_result) -> Look:
        return cls(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@dataclass
class Folder:
    """A folder, and what has been seen in it.

    `pattern` is for names, as in a shell; a name that begins with a dot never matches. Links are
    not followed, whatever they point to: a link could lead out of the folder.
    """

    path: Path
    pattern: str
    largest: int
    _taken: dict[str, Look] = field(default_factory=dict[str, Look])
    _seen: dict[str, tuple[Look, float]] = field(default_factory=dict[str, tuple[Look, float]])
    _state: int | None = None
    _compared: float = float("-inf")

    def complete(self) -> Generator[tuple[str, bytes | None]]:
        """The names and contents of files that are new and complete; None for one too large.

        Raises:
            OSError: the folder cannot be read.
        """
        now = time.monotonic()
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # The folder's own time changes when a file comes or goes, so that a folder of many
            # files costs nothing while nothing happens.
            state = os.fstat(folder).st_mtime_ns
            if state == self._state and not self._seen and now - self._compared < _COMPARE:
                return
            self._state, self._compared = state, now
            names = [name for name in os.listdir(folder) if self._matches(name)]
            self._forget(names)
            for name in names:
                if self._is_ready(folder, name, now):
                    yield from self._read(folder, name)
        finally:
            os.close(folder)

    def take(self, name: str) -> None:
        """Marks a file as done: it is not complete again until it changes."""
        look, _ = self._seen.pop(name)
        self._taken[name] = look

    def forget(self) -> None:
        """Makes every file new again."""
        self._taken.clear()
        self._state = None

    def _matches(self, name: str) -> bool:
        if name.startswith(".") or name.endswith(_UNFINISHED):
            return False
        return fnmatch.fnmatchcase(name, self.pattern)

    def _forget(self, names: list[str]) -> None:
        for known in (self._taken, self._seen):
            for gone in known.keys() - set(names):
                del known[gone]

    def _is_ready(self, folder: int, name: str, now: float) -> bool:
        """Whether a file is new, and has been quiet for long enough."""
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return False  # it went meanwhile
        if not stat.S_ISREG(found.st_mode):
            return False
        look = Look.at(found)
        if self._taken.get(name) == look:
            self._seen.pop(name, None)
            return False
        before, since = self._seen.get(name, (None, now))
        if before != look:
            # Its own times say nothing: the clock of a file server may be another one.
            self._seen[name] = look, now
            return False
        return now - since >= QUIET

    def _read(self, folder: int, name: str) -> Generator[tuple[str, bytes | None]]:
        with contextlib.suppress(OSError):  # it went, it is a link now, or it may not be read
            # Without blocking: a pipe of this name would wait for a writer.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = os.open(name, flags, dir_fd=folder)
            try:
                look = self._seen[name][0]
                if Look.at(os.fstat(file)) != look or is_written(file):
                    return
                if look.size > self.largest:
                    yield name, None
                    return
                data = _content(file, self.largest)
                if len(data) == look.size and Look.at(os.fstat(file)) == look:
                    yield name, data
            finally:
                os.close(file)


def _content(file: int, most: int) -> bytes:
    pieces = bytearray()
    while len(pieces) <= most and (piece := os.read(file, 1 << 20)):
        pieces += piece
    return bytes(pieces)


def is_written(file: int) -> bool:
    """Whether a process has the file open for writing, as far as the system says.

    A lease for reading is refused while there is a writer (fcntl(2), F_SETLEASE). Only the owner of
    a file gets one, and not every file system gives any.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        # A writer that comes while we have the lease makes the system send a signal. By default it
        # is SIGIO, which ends the process; SIGURG is ignored.
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
