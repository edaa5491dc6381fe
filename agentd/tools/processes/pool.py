"""The worker processes, in which functions of `tools/` run.

The daemon imports none of these files. A function can loop, crash or block the interpreter; that
harms one worker process, which is replaced.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import logging
import os
import sys
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentd.tools.port import ToolError
from agentd.tools.processes.environment import environment
from agentd.tools.processes.frames import Frames, FrameTooLong, frame
from agentd.tools.processes.process import Process, how_it_ended
from agentd.tools.processes.processes import Processes

log = logging.getLogger("agentd.tools.python")

COMMAND = (sys.executable, "-P", "-m", "agentd.tools.processes.worker")
MOST_HANGING = 16  # cancelled calls that still run in a worker; one with more is replaced
REACTION_TIME = 5.0  # seconds in which a worker must confirm a cancellation
_SHORT_WAIT = 0.1  # seconds that the next call waits for such a confirmation
_TAIL = 1_000  # characters of stderr that are kept, for the error if the process ends
_LINES_LOGGED = 100  # of what functions print, for each call
_LONGEST_LOGGED = 500  # characters of such a line
_MOST_ISOLATED = 16  # isolated calls at one time; each has a worker of its own
_SPARE = 4  # idle workers that are kept for isolated calls


@dataclass(frozen=True)
class ToolFiles:
    """The files of `tools/` at one moment, and the variables that a tool of them gets.

    Attributes:
        digest: equal digests mean equal files.
        key: equal keys mean equal files and equal variables.
    """

    folder: Path
    files: Mapping[str, bytes] = field(repr=False)
    env: Mapping[str, str] = field(repr=False)
    digest: str
    key: str

    @staticmethod
    def of(folder: Path, files: Mapping[str, bytes], env: Mapping[str, str]) -> ToolFiles:
        """These files, by their paths below `folder`."""
        digest = hashlib.sha256(str(folder).encode())
        for name, content in sorted(files.items()):
            digest.update(b"\0".join((name.encode(), hashlib.sha256(content).digest())))
        named = json.dumps(dict(env), sort_keys=True)
        key = hashlib.sha256(digest.digest() + named.encode()).hexdigest()
        return ToolFiles(folder, files, env, digest.hexdigest(), key)


class WorkerProcess:
    """One worker process. It can run many calls at once."""

    def __init__(self, source: ToolFiles, reaction_time: float) -> None:
        self.source = source
        self._reaction_time = reaction_time
        self._calls = 0
        self.left_children = False  # a call has left processes behind
        self._process: Process | None = None
        self._frames = Frames()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._cancelled: set[int] = set()
        self._printed = ""
        self._lines_left = _LINES_LOGGED
        self._cancellations: set[asyncio.Task[None]] = set()

    @staticmethod
    async def start(source: ToolFiles, processes: Processes, reaction_time: float) -> WorkerProcess:
        """Starts a process. It imports a file when a function in it is first needed.

        Raises:
            ToolError: no process can be started.
        """
        worker = WorkerProcess(source, reaction_time)
        try:
            process = await processes.start(COMMAND, worker._take, env=_environment(source))
        except OSError as error:
            raise ToolError(f"no worker process can be started: {error.strerror}") from None
        worker._process = process
        process.exited.add_done_callback(lambda _: worker._end())
        files = {name: b64encode(content).decode() for name, content in source.files.items()}
        process.write(frame({"folder": str(source.folder), "files": files}))
        return worker

    @property
    def idle(self) -> bool:
        """Whether no call runs in it."""
        return self._calls == 0

    @property
    def spent(self) -> bool:
        """Whether it takes no more calls: it has ended, or too many cancelled calls hang in it."""
        assert self._process is not None
        return self._process.exited.done() or len(self._cancelled) >= MOST_HANGING

    async def reacts(self) -> bool:
        """Whether it has confirmed all cancellations, or does so now."""
        if self._cancellations:
            await asyncio.wait(self._cancellations, timeout=_SHORT_WAIT)
        return not self._cancellations

    async def ask(self, **request: Any) -> Mapping[str, Any]:
        """The answer to a request. If the caller is cancelled, so is the request.

        Raises:
            ToolError: the process ended.
        """
        number = next(self._numbers)
        self._printed, self._lines_left = "", _LINES_LOGGED
        self._calls += 1
        try:
            return await self._answer(number, request)
        except asyncio.CancelledError:
            self._cancelled.add(number)
            task = asyncio.get_running_loop().create_task(self._cancel(number))
            self._cancellations.add(task)
            task.add_done_callback(self._cancellations.discard)
            raise
        finally:
            self._calls -= 1

    async def _answer(self, number: int, request: Mapping[str, Any]) -> Mapping[str, Any]:
        assert self._process is not None
        if self._process.exited.done():
            raise ToolError(self._how_it_ended())
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._process.write(frame({"id": number, **request}))
        try:
            return await answer
        finally:
            self._waiting.pop(number, None)

    def kill(self) -> None:
        """Kills the process and all processes that it has started."""
        assert self._process is not None
        self._process.kill()

    async def _cancel(self, number: int) -> None:
        """Asks the process to cancel a call, and kills it if it does not confirm.

        Then not only this call hangs but the whole interpreter: for example, `re` holds the GIL
        while it searches, so that no other thread runs.
        """
        try:
            async with asyncio.timeout(self._reaction_time):
                await self._answer(next(self._numbers), {"cancel": number})
        except TimeoutError:
            log.warning("a worker process does not react; it is killed and replaced")
            self.kill()
        except ToolError:
            return

    def _take(self, pipe: int, data: bytes) -> None:
        if pipe == 2:
            self._log(data)
            return
        try:
            for message in self._frames.feed(data):
                number = message["id"]
                self._cancelled.discard(number)
                self.left_children |= message.get("children", False)
                waiting = self._waiting.get(number)
                if waiting and not waiting.done():
                    waiting.set_result(message)
        except (FrameTooLong, ValueError, TypeError, KeyError) as error:
            # A function found the descriptor of the pipe and wrote to it. From here on the limits
            # of frames are unknown.
            log.warning("a worker process wrote an invalid answer; it is killed: %r", error)
            self.kill()

    def _log(self, data: bytes) -> None:
        """Logs what functions print, up to a limit for each call."""
        self._printed = (self._printed + data[-_TAIL:].decode(errors="replace"))[-_TAIL:]
        if self._lines_left > 0:
            longest = _LINES_LOGGED * _LONGEST_LOGGED
            lines = data[:longest].decode(errors="replace").splitlines()
            for line in filter(str.strip, lines[: self._lines_left]):
                self._lines_left -= 1
                log.info("%s", line[:_LONGEST_LOGGED])

    def _end(self) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ToolError(self._how_it_ended()))

    def _how_it_ended(self) -> str:
        assert self._process is not None
        how = how_it_ended(self._process.exited.result())
        last_line = self._printed.strip().rpartition("\n")[2]
        return f"the worker process {how}{f': {last_line}' if last_line else ''}"


class Workers:
    """All worker processes of the daemon.

    Each version of the files has one worker that all calls with equal variables share, and workers
    for isolated calls, which run one call at a time. Idle workers are kept only for current files.
    """

    def __init__(self, processes: Processes, *, reaction_time: float = REACTION_TIME) -> None:
        self._processes = processes
        self._reaction_time = reaction_time
        self._shared: dict[str, WorkerProcess] = {}
        self._free: list[WorkerProcess] = []
        # Replaced, but calls still run in them.
        self._leaving: list[WorkerProcess] = []
        self._starting = asyncio.Lock()
        self._room = asyncio.Semaphore(_MOST_ISOLATED)
        self._current: tuple[str, ...] = ()

    def keep(self, *sources: ToolFiles) -> None:
        """Says which files are current. Idle workers for all others are ended."""
        self._current = tuple(source.digest for source in sources)
        self._tidy()

    @asynccontextmanager
    async def shared(self, source: ToolFiles) -> AsyncGenerator[WorkerProcess]:
        """The worker for a call that may run beside others.

        Raises:
            ToolError: it cannot be started.
        """
        # One at a time, or two calls would both start the shared worker.
        async with self._starting:
            worker = self._shared.get(source.key)
            if worker is None or not await worker.reacts() or worker.spent:
                self._leaving += [worker] if worker else []
                worker = self._shared[source.key] = await self._take(source)
        try:
            yield worker
        finally:
            self._tidy()

    @asynccontextmanager
    async def alone(self, source: ToolFiles) -> AsyncGenerator[WorkerProcess]:
        """A worker for one call alone. It is used again, unless the call was cancelled or has left
        processes behind.

        Raises:
            ToolError: it cannot be started.
        """
        async with self._room:
            worker = await self._take(source)
            try:
                yield worker
            except BaseException:
                worker.kill()
                raise
            self._free.append(worker)
            self._tidy()

    async def _take(self, source: ToolFiles) -> WorkerProcess:
        for worker in self._free:
            if worker.source.key == source.key and not worker.spent:
                self._free.remove(worker)
                return worker
        return await WorkerProcess.start(source, self._processes, self._reaction_time)

    def _tidy(self) -> None:
        """Ends the idle workers that are not worth keeping."""
        useless = [each for each in self._free if not self._is_current(each) or each.left_children]
        useless += self._free[:-_SPARE]
        for worker in [*self._shared.values(), *self._leaving]:
            kept = self._is_current(worker) and worker not in self._leaving
            useless += [worker] if worker.idle and not kept else []
        for worker in useless:
            worker.kill()
        self._free = [each for each in self._free if each not in useless]
        self._leaving = [each for each in self._leaving if each not in useless]
        self._shared = {key: each for key, each in self._shared.items() if each not in useless}

    def _is_current(self, worker: WorkerProcess) -> bool:
        return worker.source.digest in self._current and not worker.spent


def _environment(source: ToolFiles) -> dict[str, str]:
    # The worker is a program of agentd, which may have been found by PYTHONPATH itself.
    ours = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    return environment({**ours, **source.env})
