"""A program that we run: spoken to in lines, and gone with all that it started when we are."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process, SubprocessStreamProtocol
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

LONGEST_LINE = 4 << 20  # bytes that are kept of a line

_EDGE = 256  # bytes that are kept of either end of a longer one
_ENDLESS = 1 << 30  # bytes after which a line that does not end is taken for the end
_COMPLAINT = 300  # characters that are kept of a line of its stderr
_COMPLAINTS = 20  # lines of a piece of stderr that are logged
_GRACE, _LAST_GRACE = 2.0, 1.0  # seconds to end by itself, and after SIGTERM

# The first of a process group, alive for as long as its input: then it kills them all, itself too.
# The kernel closes that input however we end, so that not even our `kill -9` leaves an orphan.
_GUARD = ("/bin/sh", "-c", "read _; kill -KILL 0")


class ChildError(Exception):
    """The program did not start, or is gone; the text is for a person."""


@dataclass(frozen=True)
class TooLong:
    """What is left of a line that was too long to keep."""

    head: bytes
    tail: bytes
    size: int


class Child:
    """A running program. Whoever starts one calls `stop`."""

    def __init__(
        self,
        name: str,
        guard: Process,
        process: Process,
        protocol: _Protocol,
        transport: asyncio.BaseTransport,
    ) -> None:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        self.pid = process.pid
        self._name = name
        self._guard = guard
        self._process = process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._protocol = protocol
        self._transport = transport
        self._complaint = ""
        self._stopping: asyncio.Task[None] | None = None
        self._stopped = False
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(
        cls, name: str, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | None
    ) -> Child:
        """Runs `argv` with exactly the environment `env`.

        Raises:
            ChildError: it cannot be run.
        """
        loop = asyncio.get_running_loop()
        guard = await asyncio.create_subprocess_exec(
            *_GUARD, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, process_group=0
        )
        assert guard.stdin
        leash = guard.stdin
        try:
            transport, protocol = await loop.subprocess_exec(
                lambda: _Protocol(loop, leash),
                *argv,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env=env,
                cwd=cwd,
                process_group=guard.pid,
            )
        except BaseException as error:
            leash.close()
            await guard.wait()
            if isinstance(error, OSError | ValueError):
                raise ChildError(_why(error, argv[0], cwd)) from None
            raise
        return cls(name, guard, Process(transport, protocol, loop), protocol, transport)

    async def line(self) -> bytes | TooLong | None:
        """The next line that it writes, None at the end. What has no end of line is no line."""
        # A program that writes faster than we read must not keep the event loop to itself.
        await asyncio.sleep(0)
        try:
            return await self._stdout.readuntil()
        except asyncio.LimitOverrunError as overrun:
            return await self._skip(overrun.consumed)
        except (asyncio.IncompleteReadError, OSError):
            return None

    async def write(self, line: bytes) -> None:
        """Gives it a line.

        Raises:
            ChildError: it reads no more.
        """
        try:
            self._stdin.write(line + b"\n")
            await self._stdin.drain()
        except (OSError, RuntimeError) as error:
            raise ChildError(f"reads no more: {error}") from None

    @property
    def fate(self) -> str:
        """How it ended, in words, with the last thing it complained of; empty if it did not, or if
        we ended it."""
        status = self._process.returncode
        if status is None or self._stopped:
            return ""
        ended = f"exited with {status}" if status >= 0 else f"was killed by {_signal(-status)}"
        return f"{ended}: {self._complaint}" if self._complaint and status else ended

    async def stop(self) -> None:
        """Ends it and all that it has started within a few seconds, also if this is cancelled: its
        input ends, then it is asked to end, then it has ended."""
        self._stopping = self._stopping or asyncio.create_task(self._stop())
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        self._stopped = self._process.returncode is None
        self._stdin.close()
        if not await self.ended(_GRACE):
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            await self.ended(_LAST_GRACE)
        self._protocol.leash.close()
        self._listening.cancel()
        await self.ended(_LAST_GRACE)
        await self._guard.wait()
        # One that left the group may still hold the pipes: we let go of them.
        self._transport.close()

    async def ended(self, patience: float) -> bool:
        """Waits so many seconds for its end; whether it came."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._protocol.exited.wait()
        return self._protocol.exited.is_set()

    async def _skip(self, held: int) -> TooLong | None:
        """Reads over the rest of a line of which `held` bytes are waiting."""
        size, head, tail = 0, b"", b""
        while size < _ENDLESS:
            piece = await self._stdout.readexactly(held)
            size, head, tail = size + held, head or piece[:_EDGE], (tail + piece)[-_EDGE:]
            try:
                piece = await self._stdout.readuntil()
                return TooLong(head, (tail + piece)[-_EDGE:], size + len(piece))
            except asyncio.LimitOverrunError as overrun:
                held = overrun.consumed
            except (asyncio.IncompleteReadError, OSError):
                return None
        return None

    async def _listen(self) -> None:
        """Logs what it complains of, and keeps the last of it."""
        while piece := await self._stderr.read(1 << 16):
            lines = [line for line in piece.decode(errors="replace").splitlines() if line.strip()]
            for line in lines[-_COMPLAINTS:]:
                self._complaint = line.strip()[:_COMPLAINT]
                log.debug("%s: %s", self._name, line.rstrip()[:_COMPLAINT])
            if len(lines) > _COMPLAINTS:
                log.debug("%s: and %d lines before", self._name, len(lines) - _COMPLAINTS)


class _Protocol(SubprocessStreamProtocol):
    """Hears of the end at once; asyncio's own `wait` waits for those, too, who hold the pipes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, leash: asyncio.StreamWriter) -> None:
        super().__init__(limit=LONGEST_LINE, loop=loop)
        self.leash = leash
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.leash.close()  # what it has left behind goes, too, and with it the other ends of pipes
        self.exited.set()


def _why(error: OSError | ValueError, program: str, cwd: Path | None) -> str:
    if cwd is not None and not cwd.is_dir():
        return f"there is no folder {cwd}"
    if isinstance(error, FileNotFoundError):
        return f"there is no program {program!r}"
    return f"cannot be run: {error}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
