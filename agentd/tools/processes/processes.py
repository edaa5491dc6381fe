"""Processes that are started for tools: each leads a group of its own, and none outlives us."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from agentd.tools.processes import reaper

# The number of the pipe, 1 or 2, and what came through it: nothing when it has ended.
Output = Callable[[int, bytes], None]

_PATIENCE = 1.0  # seconds for the pipes to close once the group is dead


class Process(asyncio.SubprocessProtocol):
    """A process with all that it starts: they end together."""

    def __init__(self, on_output: Output, forget: Callable[[Process], None]) -> None:
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[int] = loop.create_future()
        self._closed: asyncio.Future[None] = loop.create_future()
        self._reads = asyncio.Event()  # set while it reads what it is given
        self._reads.set()
        self._on_output = on_output
        self._forget = forget
        self._transport: asyncio.SubprocessTransport | None = None

    @property
    def pid(self) -> int:
        assert self._transport is not None
        return self._transport.get_pid()

    def write(self, data: bytes, *, end: bool = False) -> None:
        """Gives it something to read, and with `end` nothing more; that it is gone is no error."""
        pipe = self.pipe(0)
        if isinstance(pipe, asyncio.WriteTransport):
            if data:
                pipe.write(data)
            if end:
                pipe.close()

    async def drain(self) -> bool:
        """Waits until it can be given more; False if it reads no more."""
        await self._reads.wait()
        pipe = self.pipe(0)
        return pipe is not None and not pipe.is_closing()

    def pipe(self, number: int) -> asyncio.BaseTransport | None:
        """Its input, 0, or one of its outputs, 1 and 2."""
        assert self._transport is not None
        return self._transport.get_pipe_transport(number)

    def terminate(self) -> None:
        """Asks it to end."""
        assert self._transport is not None
        with suppress(ProcessLookupError):
            self._transport.terminate()

    def kill(self) -> None:
        """Ends the group."""
        if not self.exited.done():
            self._kill()

    async def ended(self) -> int:
        """Waits until it has exited and what it wrote was read. Its exit code; if a signal ended
        it, minus the number of that."""
        code = await asyncio.shield(self.exited)
        await asyncio.shield(self._closed)
        return code

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._on_output(fd, data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 0:
            self._reads.set()
        else:
            self._on_output(fd, b"")

    def pause_writing(self) -> None:
        self._reads.clear()

    def resume_writing(self) -> None:
        self._reads.set()

    def process_exited(self) -> None:
        assert self._transport is not None
        # What it left behind in its group; an id is not given out again while a group has it.
        self._kill()
        self._forget(self)
        # One that left the group may still hold the pipes: we let go of them.
        asyncio.get_running_loop().call_later(_PATIENCE, self._transport.close)
        code = self._transport.get_returncode()
        self.exited.set_result(-signal.SIGKILL if code is None else code)

    def connection_lost(self, exc: Exception | None) -> None:
        assert self._transport is not None
        self._transport.close()
        if not self._closed.done():
            self._closed.set_result(None)

    def _kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exited with {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


class Processes:
    """All processes of tools of this process; they end with it, even when it is killed."""

    def __init__(self) -> None:
        self._running: set[Process] = set()
        self._reaper: subprocess.Popen[bytes] | None = None

    async def start(
        self,
        argv: Sequence[str],
        on_output: Output,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Process:
        """Starts a program; `env` is all of its environment, None ours.

        Raises:
            OSError: there is no such program or folder.
            ValueError: an argument has a zero character.
        """
        _, process = await asyncio.get_running_loop().subprocess_exec(
            lambda: Process(on_output, self._forget),
            *argv,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
        self._running.add(process)
        self._tell_reaper(f"+{process.pid}\n")
        if process.exited.done():
            self._forget(process)
        return process

    async def close(self) -> None:
        """Ends them all."""
        running = list(self._running)
        for process in running:
            process.kill()
        for process in running:
            await process.ended()
        if self._reaper and self._reaper.stdin:
            self._reaper.stdin.close()
            await asyncio.to_thread(self._reaper.wait)
            self._reaper = None

    def _forget(self, process: Process) -> None:
        if process in self._running:
            self._running.discard(process)
            self._tell_reaper(f"-{process.pid}\n")

    def _tell_reaper(self, line: str) -> None:
        try:
            self._write(line)
        except BrokenPipeError:  # somebody killed it: the next one is told of all
            if self._reaper:
                self._reaper.wait()
            self._reaper = None
            self._write("".join(f"+{process.pid}\n" for process in self._running))

    def _write(self, lines: str) -> None:
        if self._reaper is None:
            self._reaper = subprocess.Popen(
                [sys.executable, "-I", "-S", reaper.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        assert self._reaper.stdin is not None
        self._reaper.stdin.write(lines.encode())
