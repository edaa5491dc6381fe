"""A program that exchanges lines with the daemon, such as an MCP server on stdio."""

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

LONGEST_LINE = 4 << 20  # bytes; of a longer line only both ends are kept

_EDGE = 256  # bytes that are kept of each end of such a line
_ENDLESS = 1 << 30  # bytes; a line that is still longer counts as the end of the output
_LONGEST_LOGGED = 300  # characters of a line of stderr
_MOST_LOGGED = 20  # lines of one piece of stderr
_GRACE, _LAST_GRACE = 2.0, 1.0  # seconds to end after its input was closed, and after SIGTERM


class ChildError(AgentdError):
    """The program did not start, or it has ended; the text is for a person."""


@dataclass(frozen=True)
class TruncatedLine:
    """Both ends of a line that was too long to keep, and its size in bytes."""

    head: bytes
    tail: bytes
    size: int


class Child:
    """A running program. The caller of `start` must call `stop`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lines = asyncio.StreamReader(limit=LONGEST_LINE)
        self._process: Process | None = None
        self._last_error_line = ""
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
        """Starts `argv`; `env` is its whole environment.

        Raises:
            ChildError: it cannot be started.
        """
        child = Child(name)
        try:
            process = await processes.start(argv, child._take, env=env, cwd=cwd)
        except (OSError, ValueError) as error:
            raise ChildError(_why(error, argv[0], cwd)) from None
        child._process = process
        output = process.pipe(1)
        assert output is not None
        # With a transport the reader stops reading the pipe when its buffer is full. The program
        # then waits, and our memory stays bounded.
        child._lines.set_transport(output)
        return child

    async def line(self) -> bytes | TruncatedLine | None:
        """Its next line of output, None at the end. Bytes after the last newline are dropped."""
        # Without this pause a program that writes faster than we read would block the event loop:
        # `readuntil` returns without waiting while its buffer holds a line.
        await asyncio.sleep(0)
        try:
            return await self._lines.readuntil()
        except asyncio.LimitOverrunError as overrun:
            return await self._skip(overrun.consumed)
        except (asyncio.IncompleteReadError, OSError):
            return None

    async def write(self, line: bytes) -> None:
        """Writes a line to its input.

        Raises:
            ChildError: it has closed its input.
        """
        self._running.write(line + b"\n")
        if not await self._running.drain():
            raise ChildError("has closed its input")

    @property
    def fate(self) -> str:
        """How it ended, with the last line of its stderr if it failed. Empty while it runs, and
        after `stop`."""
        exited = self._running.exited
        if not exited.done() or self._stopped:
            return ""
        code, ended = exited.result(), how_it_ended(exited.result())
        return f"{ended}: {self._last_error_line}" if self._last_error_line and code else ended

    async def stop(self) -> None:
        """Ends it, with all processes that it has started, within a few seconds.

        First its input is closed, which ends an MCP server. Then it gets SIGTERM, then SIGKILL. It
        is ended even if the caller is cancelled.
        """
        # A second caller waits for the same end. The shield keeps it going without any caller.
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
        """Waits at most `patience` seconds for its end; True if it has ended."""
        await asyncio.wait([self._running.exited], timeout=patience)
        return self._running.exited.done()

    @property
    def _running(self) -> Process:
        assert self._process is not None
        return self._process

    async def _skip(self, held: int) -> TruncatedLine | None:
        """Reads the rest of a long line, of which `held` bytes are in the buffer, and drops it."""
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
            self._log(data)
        elif data:
            self._lines.feed_data(data)
        else:
            self._lines.feed_eof()

    def _log(self, data: bytes) -> None:
        """Logs its stderr and keeps the last line, which often says why it ends."""
        lines = [line for line in data.decode(errors="replace").splitlines() if line.strip()]
        for line in lines[-_MOST_LOGGED:]:
            self._last_error_line = line.strip()[:_LONGEST_LOGGED]
            log.debug("%s: %s", self._name, line.rstrip()[:_LONGEST_LOGGED])
        if len(lines) > _MOST_LOGGED:
            log.debug("%s: %d earlier lines are left out", self._name, len(lines) - _MOST_LOGGED)


def _why(error: OSError | ValueError, program: str, cwd: Path | None) -> str:
    if cwd is not None and not cwd.is_dir():
        return f"there is no folder {cwd}"
    if isinstance(error, FileNotFoundError):
        return f"there is no program {program!r}"
    return f"cannot be started: {error}"
