"""A program that we run: spoken to in lines, and gone with all that it started when we are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentd.errors import AgentdError
from agentd.tools.processes.process import Process, how_it_ended
from agentd.tools.processes.processes import Processes

log = logging.getLogger(__name__)

LONGEST_LINE = 4 << 20  # bytes that are kept of a line

_EDGE = 256  # bytes that are kept of either end of a longer one
_ENDLESS = 1 << 30  # bytes after which a line that does not end is taken for the end
_COMPLAINT = 300  # characters that are kept of a line of its stderr
_COMPLAINTS = 20  # lines of a piece of stderr that are logged
_GRACE, _LAST_GRACE = 2.0, 1.0  # seconds to end by itself, and after SIGTERM


class ChildError(AgentdError):
    """The program did not start, or is gone; the text is for a person."""


@dataclass(frozen=True)
class TruncatedLine:
    """What is left of a line that was too long to keep."""

    head: bytes
    tail: bytes
    size: int


class Child:
    """A running program. Whoever starts one calls `stop`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lines = asyncio.StreamReader(limit=LONGEST_LINE)
        self._process: Process | None = None
        self._complaint = ""
        self._stopping: asyncio.Task[None] | None = None
        self._stopped = False

    @staticmethod
    async def start(
        processes: Processes,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None,
    ) -> Child:
        """Runs `argv` with exactly the environment `env`.

        Raises:
            ChildError: it cannot be run.
        """
        child = Child(name)
        try:
            process = await processes.start(argv, child._take, env=env, cwd=cwd)
        except (OSError, ValueError) as error:
            raise ChildError(_why(error, argv[0], cwd)) from None
        child._process = process
        output = process.pipe(1)
        assert output is not None
        child._lines.set_transport(output)  # what is not read in time is not taken from it
        return child

    async def line(self) -> bytes | TruncatedLine | None:
        """The next line that it writes, None at the end. What has no end of line is no line."""
        # A program that writes faster than we read must not keep the event loop to itself.
        await asyncio.sleep(0)
        try:
            return await self._lines.readuntil()
        except asyncio.LimitOverrunError as overrun:
            return await self._skip(overrun.consumed)
        except (asyncio.IncompleteReadError, OSError):
            return None

    async def write(self, line: bytes) -> None:
        """Gives it a line.

        Raises:
            ChildError: it reads no more.
        """
        self._running.write(line + b"\n")
        if not await self._running.drain():
            raise ChildError("reads no more")

    @property
    def fate(self) -> str:
        """How it ended, in words, with the last thing it complained of; empty if it did not, or if
        we ended it."""
        exited = self._running.exited
        if not exited.done() or self._stopped:
            return ""
        code, ended = exited.result(), how_it_ended(exited.result())
        return f"{ended}: {self._complaint}" if self._complaint and code else ended

    async def stop(self) -> None:
        """Ends it and all that it has started within a few seconds, also if this is cancelled: its
        input ends, then it is asked to end, then it has ended."""
        self._stopping = self._stopping or asyncio.create_task(self._stop())
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        process = self._running
        self._stopped = not process.exited.done()
        process.write(b"", end=True)
        if not await self.ended(_GRACE):
            process.terminate()
            await self.ended(_LAST_GRACE)
        process.kill()
        await process.ended()

    async def ended(self, patience: float) -> bool:
        """Waits so many seconds for its end; whether it came."""
        await asyncio.wait([self._running.exited], timeout=patience)
        return self._running.exited.done()

    @property
    def _running(self) -> Process:
        assert self._process is not None
        return self._process

    async def _skip(self, held: int) -> TruncatedLine | None:
        """Reads over the rest of a line of which `held` bytes are waiting."""
        size, head, tail = 0, b"", b""
        while size < _ENDLESS:
            piece = await self._lines.readexactly(held)
            size, head, tail = size + held, head or piece[:_EDGE], (tail + piece)[-_EDGE:]
            try:
                piece = await self._lines.readuntil()
                return TruncatedLine(head, (tail + piece)[-_EDGE:], size + len(piece))
            except asyncio.LimitOverrunError as overrun:
                held = overrun.consumed
            except (asyncio.IncompleteReadError, OSError):
                return None
        return None

    def _take(self, pipe: int, data: bytes) -> None:
        if pipe == 2:
            self._hear(data)
        elif data:
            self._lines.feed_data(data)
        else:
            self._lines.feed_eof()

    def _hear(self, data: bytes) -> None:
        """Logs what it complains of, and keeps the last of it."""
        lines = [line for line in data.decode(errors="replace").splitlines() if line.strip()]
        for line in lines[-_COMPLAINTS:]:
            self._complaint = line.strip()[:_COMPLAINT]
            log.debug("%s: %s", self._name, line.rstrip()[:_COMPLAINT])
        if len(lines) > _COMPLAINTS:
            log.debug("%s: and %d lines before", self._name, len(lines) - _COMPLAINTS)


def _why(error: OSError | ValueError, program: str, cwd: Path | None) -> str:
    if cwd is not None and not cwd.is_dir():
        return f"there is no folder {cwd}"
    if isinstance(error, FileNotFoundError):
        return f"there is no program {program!r}"
    return f"cannot be run: {error}"
