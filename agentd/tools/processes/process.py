"""One process of a tool, as the daemon sees it: its pipes and its end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from io import FileIO

# The number of the pipe, 1 or 2, and what came through it; empty when the pipe is closed.
Output = Callable[[int, bytes], None]

_PATIENCE = 1.0  # seconds for the pipes to close after the process has exited


class Process:
    """A process that leads a group of its own. When it exits, the rest of the group is killed.

    Attributes:
        pid: its id, which is also the id of its group; 0 until it runs.
        exited: its exit code; if a signal ended it, minus the number of the signal.
    """

    def __init__(self, on_output: Output) -> None:
        loop = asyncio.get_running_loop()
        self.pid = 0
        self.exited: asyncio.Future[int] = loop.create_future()
        self._on_output = on_output
        self._outputs_closed: asyncio.Future[None] = loop.create_future()
        self._open_outputs = {1, 2}
        self._input = _Input()
        self._transports: dict[int, asyncio.BaseTransport] = {}

    async def connect(self, stdin: FileIO, stdout: FileIO, stderr: FileIO) -> None:
        """Takes over our ends of its pipes."""
        loop = asyncio.get_running_loop()
        try:
            self._transports[0], _ = await loop.connect_write_pipe(lambda: self._input, stdin)
            for number, pipe in ((1, stdout), (2, stderr)):
                output = _Output(number, self._on_output, self._output_closed)
                self._transports[number], _ = await loop.connect_read_pipe(
                    lambda output=output: output, pipe
                )
        except BaseException:
            self.abandon()
            raise

    def write(self, data: bytes, *, end: bool = False) -> None:
        """Writes to its input; `end` closes it. It is no error if nothing reads there any more."""
        pipe = self.pipe(0)
        if isinstance(pipe, asyncio.WriteTransport):
            if data:
                pipe.write(data)
            if end:
                pipe.close()

    async def drain(self) -> bool:
        """Waits until its input takes more data; False if it has closed its input."""
        await self._input.ready.wait()
        pipe = self.pipe(0)
        return pipe is not None and not pipe.is_closing()

    def pipe(self, number: int) -> asyncio.BaseTransport | None:
        """Its input, 0, or one of its outputs, 1 and 2."""
        return self._transports.get(number)

    def terminate(self) -> None:
        """Asks it to end (SIGTERM)."""
        if self.pid and not self.exited.done():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kills the whole group."""
        # Without an id yet, `killpg(0, …)` would kill our own group.
        if self.pid and not self.exited.done():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    async def ended(self) -> int:
        """Waits until it has exited and all its output was read; its exit code, as in `exited`."""
        code = await asyncio.shield(self.exited)
        await asyncio.shield(self._outputs_closed)
        return code

    def abandon(self) -> None:
        """Kills the whole group and reads no more from it."""
        self.kill()
        self._close()
        # Pipes that are not connected yet report no end.
        self._all_closed()

    def end(self, code: int) -> None:
        """Called when it has exited."""
        self.exited.set_result(code)
        # A descendant that left the group may still hold the outputs open. We do not wait for it.
        asyncio.get_running_loop().call_later(_PATIENCE, self._close)

    def _output_closed(self, number: int) -> None:
        self._open_outputs.discard(number)
        if not self._open_outputs:
            self._all_closed()

    def _all_closed(self) -> None:
        if not self._outputs_closed.done():
            self._outputs_closed.set_result(None)

    def _close(self) -> None:
        for transport in self._transports.values():
            transport.close()
        stdin = self.pipe(0)
        # `close` waits until all is written, which may never happen if such a process holds it.
        if isinstance(stdin, asyncio.WriteTransport) and stdin.get_write_buffer_size():
            stdin.abort()


class _Input(asyncio.BaseProtocol):
    """Its input; `ready` is set while it takes more data."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.ready.set()

    def pause_writing(self) -> None:
        self.ready.clear()

    def resume_writing(self) -> None:
        self.ready.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ready.set()


class _Output(asyncio.Protocol):
    """One of its outputs."""

    def __init__(self, number: int, on_output: Output, closed: Callable[[int], None]) -> None:
        self._number = number
        self._on_output = on_output
        self._closed = closed

    def data_received(self, data: bytes) -> None:
        self._on_output(self._number, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_output(self._number, b"")
        self._closed(self._number)


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exited with code {code}"
    with suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"
