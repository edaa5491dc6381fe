"""Starts processes for tools, through the spawner, so that none outlives the daemon.

The daemon must not start them itself. If a SIGKILL hit it after the start of a process and before
any other program knew its id, the process would run on. Simpler ways do not work:

* `PR_SET_PDEATHSIG` reaches the process, but not the processes that it has started by then.
* `preexec_fn`, which could report the id before the program runs, may deadlock in a process with
  threads.
* A wrapper in Python that reports first and then runs the program adds 10 ms to each call. A
  wrapper in shell changes the environment.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

from agentd import crash_points
from agentd.tools.processes import spawner
from agentd.tools.processes.process import Output, Process

log = logging.getLogger(__name__)

_PIECE = 1 << 16


class Processes:
    """Processes that end with the daemon, even if it is killed. It belongs to one event loop."""

    def __init__(self) -> None:
        self._spawner: _Spawner | None = None

    async def start(
        self,
        argv: Sequence[str],
        on_output: Output,
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
    ) -> Process:
        """Starts a program. `env` is its whole environment.

        Raises:
            OSError: there is no such program or folder, or no process can be started.
            ValueError: an argument has a zero byte.
        """
        if self._spawner is None or self._spawner.ended:
            self._spawner = _Spawner()
        request = _request(argv, env, cwd)
        process = Process(on_output)
        ours, theirs = _pipes()
        try:
            await self._spawner.start(process, request, theirs)
            crash_points.here("process-started")
            await process.connect(*ours)
        except BaseException:
            for pipe in ours:
                pipe.close()
            raise
        return process

    async def close(self) -> None:
        """Kills all of them, and ends the spawner."""
        if self._spawner is not None:
            await self._spawner.close()
            self._spawner = None


class _Spawner:
    """The connection to the program `agentd.tools.processes.spawner`.

    It uses callbacks of the event loop, not a task. When `asyncio.run` ends, it cancels all tasks;
    a task that then waits for a process to exit must still receive the exit.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket, self._program = _run_spawner()
        self._loop.add_reader(self._socket, self._read)
        self._numbers = itertools.count(1)
        self._starting: dict[int, asyncio.Future[None]] = {}
        self._running: dict[int, Process] = {}
        # What is still to be written, and the descriptors to send with its first byte. A request
        # stays here until it is written, even if its caller is cancelled: half a line would make
        # all later ones unreadable.
        self._outbox: deque[tuple[bytes, Sequence[int]]] = deque()
        self._unread = b""
        self.ended = False

    async def start(
        self, process: Process, request: Mapping[str, Any], streams: Sequence[int]
    ) -> None:
        """Starts `process` with these descriptors as stdin, stdout and stderr. It takes them over.

        Raises:
            OSError: the program cannot be started, or the spawner has ended.
            ValueError: an argument has a zero byte.
        """
        number = next(self._numbers)
        line = json.dumps({"id": number, **request}).encode() + b"\n"
        started = self._starting[number] = self._loop.create_future()
        self._running[number] = process
        self._outbox.append((line, streams))
        self._write()
        crash_points.here("process-requested")
        await started

    async def close(self) -> None:
        """Kills all processes and ends the spawner."""
        started = [process for process in self._running.values() if process.pid]
        for process in started:
            process.kill()
        for process in started:
            await process.ended()
        self._disconnect()
        await asyncio.to_thread(self._program.wait)

    def _write(self) -> None:
        """Writes as much as the socket takes now, and the rest when it takes more."""
        # Never blocks: the spawner may wait for a slow file system while it starts a program.
        while self._outbox:
            data, streams = self._outbox[0]
            try:
                if streams:
                    sent = socket.send_fds(self._socket, [data], streams)
                else:
                    sent = self._socket.send(data)
            except BlockingIOError:
                self._loop.add_writer(self._socket, self._write)
                return
            except OSError:
                self._end()
                return
            for stream in streams:
                os.close(stream)
            if sent < len(data):
                self._outbox[0] = data[sent:], ()
            else:
                self._outbox.popleft()
        self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        try:
            data = self._socket.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))
        if not data:
            self._end()

    def _take(self, message: Mapping[str, Any]) -> None:
        number = message["id"]
        process = self._running[number]
        if "code" in message:
            del self._running[number]
            process.end(message["code"])
            return
        started = self._starting.pop(number)
        if "pid" not in message:
            del self._running[number]
            if not started.done():
                started.set_exception(_error(message))
            return
        process.pid = message["pid"]
        if started.done():  # cancelled
            process.abandon()
        else:
            started.set_result(None)

    def _end(self) -> None:
        """The spawner has ended by itself. The exits of its processes would go unnoticed."""
        if self.ended:
            return
        log.warning("the spawner of tool processes has ended; all processes of tools are killed")
        self._disconnect()
        self._program.wait()

    def _disconnect(self) -> None:
        self.ended = True
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        for _, streams in self._outbox:
            for stream in streams:
                os.close(stream)
        self._outbox.clear()
        for started in self._starting.values():
            if not started.done():
                started.set_exception(OSError(errno.EPIPE, "the spawner has ended"))
        for process in self._running.values():
            if process.pid:
                process.kill()
                process.end(-signal.SIGKILL)
        self._starting.clear()
        self._running.clear()


def _run_spawner() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Starts the spawner; our end of the socket to it, and the program."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    try:
        program = subprocess.Popen(
            [sys.executable, "-I", "-S", spawner.__file__],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # it must outlive a Ctrl-C
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return ours, program


def _request(argv: Sequence[str], env: Mapping[str, str], cwd: Path | None) -> dict[str, Any]:
    # The spawner may have been started in another folder than the one we are in now.
    folder = Path(cwd or "").absolute()
    return {"argv": list(argv), "env": dict(env), "cwd": str(folder)}


def _pipes() -> tuple[list[FileIO], list[int]]:
    """The pipes for stdin, stdout and stderr: our ends, and the ends of the new process."""
    ours: list[FileIO] = []
    theirs: list[int] = []
    try:
        for number in range(3):
            readable, writable = os.pipe()
            ours.append(FileIO(writable, "w") if number == 0 else FileIO(readable))
            theirs.append(readable if number == 0 else writable)
    except OSError:
        for pipe in ours:
            pipe.close()
        for descriptor in theirs:
            os.close(descriptor)
        raise
    return ours, theirs


def _error(message: Mapping[str, Any]) -> Exception:
    if message["errno"] is None:
        return ValueError(message["text"])
    return OSError(message["errno"], message["text"], message["file"])
