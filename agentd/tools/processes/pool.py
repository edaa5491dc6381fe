"""The processes in which functions of `tools/` run, seen from the daemon, which runs none."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import sys
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentd.tools.port import ToolError
from agentd.tools.processes.frames import Frames, FrameTooLong, frame
from agentd.tools.processes.process import Process, how_it_ended
from agentd.tools.processes.processes import Processes

log = logging.getLogger("agentd.tools.python")

COMMAND = (sys.executable, "-P", "-m", "agentd.tools.processes.worker")
MOST_HANGING = 16  # calls given up that a process may still be busy with
BREATH = 5.0  # seconds in which a process must react to a call that is given up
_MOMENT = 0.1  # seconds that the next call waits for that
_TAIL = 1_000  # characters of what it said last
_SHOWN = 100  # lines of what functions print that are logged for each call
_LINE = 500  # characters of each
_ALONE = 16  # processes that have one call each
_FREE = 4  # processes without a call that are kept for the next


@dataclass(frozen=True)
class ToolFiles:
    """The files of `tools/` at one moment; `digest` tells two of them apart."""

    folder: Path
    files: Mapping[str, bytes] = field(repr=False)
    digest: str

    @staticmethod
    def of(folder: Path, files: Mapping[str, bytes]) -> ToolFiles:
        """The source of these files below `folder`."""
        digest = hashlib.sha256(str(folder).encode())
        for name, content in sorted(files.items()):
            digest.update(b"\0".join((name.encode(), hashlib.sha256(content).digest())))
        return ToolFiles(folder, files, digest.hexdigest())


class WorkerProcess:
    """One process. Many calls can be in it at once."""

    def __init__(self, source: ToolFiles, breath: float) -> None:
        self.source = source
        self._breath = breath
        self._calls = 0
        self.left_children = False  # a call has left processes behind
        self._process: Process | None = None
        self._frames = Frames()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._given_up: set[int] = set()
        self._said = ""
        self._lines_left = _SHOWN
        self._watching: set[asyncio.Task[None]] = set()

    @staticmethod
    async def start(source: ToolFiles, processes: Processes, breath: float) -> WorkerProcess:
        """Starts a process; it loads a file when a function in it is first asked for.

        Raises:
            ToolError: there can be no further process.
        """
        worker = WorkerProcess(source, breath)
        try:
            process = await processes.start(COMMAND, worker._take)
        except OSError as error:
            raise ToolError(f"no process can be started for it: {error.strerror}") from None
        worker._process = process
        process.exited.add_done_callback(lambda _: worker._end())
        files = {name: b64encode(content).decode() for name, content in source.files.items()}
        process.write(frame({"folder": str(source.folder), "files": files}))
        return worker

    @property
    def idle(self) -> bool:
        """Whether nobody waits for it."""
        return self._calls == 0

    @property
    def spent(self) -> bool:
        """Whether it takes no more calls: it is gone, or too much of it hangs."""
        assert self._process is not None
        return self._process.exited.done() or len(self._given_up) >= MOST_HANGING

    async def reacts(self) -> bool:
        """Whether it has taken notice, or does so within a moment, of all calls given up."""
        if self._watching:
            await asyncio.wait(self._watching, timeout=_MOMENT)
        return not self._watching

    async def ask(self, **request: Any) -> Mapping[str, Any]:
        """What the process answers. Cancelled, it is told so.

        Raises:
            ToolError: the process ended.
        """
        number = next(self._numbers)
        self._said, self._lines_left = "", _SHOWN
        self._calls += 1
        try:
            return await self._answer(number, request)
        except asyncio.CancelledError:
            self._given_up.add(number)
            watch = asyncio.get_running_loop().create_task(self._cancel(number))
            self._watching.add(watch)
            watch.add_done_callback(self._watching.discard)
            raise
        finally:
            self._calls -= 1

    async def _answer(self, number: int, request: Mapping[str, Any]) -> Mapping[str, Any]:
        assert self._process is not None
        if self._process.exited.done():
            raise ToolError(self._epitaph())
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._process.write(frame({"id": number, **request}))
        try:
            return await answer
        finally:
            self._waiting.pop(number, None)

    def kill(self) -> None:
        """Ends the process with all that it has started."""
        assert self._process is not None
        self._process.kill()

    async def _cancel(self, number: int) -> None:
        """Tells the process that nobody waits. One that does not react is held up as a whole, such
        as by a search in a text that no other thread interrupts: it is ended."""
        try:
            async with asyncio.timeout(self._breath):
                await self._answer(next(self._numbers), {"cancel": number})
        except TimeoutError:
            log.warning("a process of tools stands still, and is ended")
            self.kill()
        except ToolError:
            return

    def _take(self, pipe: int, data: bytes) -> None:
        if pipe == 2:
            self._hear(data)
            return
        try:
            for message in self._frames.feed(data):
                number = message["id"]
                self._given_up.discard(number)
                self.left_children |= message.get("children", False)
                waiting = self._waiting.get(number)
                if waiting and not waiting.done():
                    waiting.set_result(message)
        except (FrameTooLong, ValueError, TypeError, KeyError) as error:
            # A function got hold of the pipe, and wrote to it.
            log.warning("a process of tools says what cannot be read, and is ended: %r", error)
            self.kill()

    def _hear(self, data: bytes) -> None:
        """What functions print is logged, within bounds."""
        self._said = (self._said + data[-_TAIL:].decode(errors="replace"))[-_TAIL:]
        if self._lines_left > 0:
            lines = data[: _SHOWN * _LINE].decode(errors="replace").splitlines()
            for line in filter(str.strip, lines[: self._lines_left]):
                self._lines_left -= 1
                log.info("%s", line[:_LINE])

    def _end(self) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ToolError(self._epitaph()))

    def _epitaph(self) -> str:
        assert self._process is not None
        how = how_it_ended(self._process.exited.result())
        said = self._said.strip().rpartition("\n")[2]
        return f"the process in which it ran {how}{f': {said}' if said else ''}"


class Workers:
    """The processes for the functions of `tools/`: for each source one that calls share, and others
    that have one call at a time. What has nothing to do stays only for sources of the moment."""

    def __init__(self, processes: Processes, *, breath: float = BREATH) -> None:
        self._processes = processes
        self._breath = breath
        self._shared: dict[str, WorkerProcess] = {}
        self._free: list[WorkerProcess] = []
        self._leaving: list[WorkerProcess] = []
        self._starting = asyncio.Lock()
        self._room = asyncio.Semaphore(_ALONE)
        self._current: tuple[str, ...] = ()

    def keep(self, *sources: ToolFiles) -> None:
        """These are the sources of the moment."""
        self._current = tuple(source.digest for source in sources)
        self._tidy()

    @asynccontextmanager
    async def shared(self, source: ToolFiles) -> AsyncGenerator[WorkerProcess]:
        """A process for a call that may be beside others.

        Raises:
            ToolError: it cannot be started.
        """
        async with self._starting:
            worker = self._shared.get(source.digest)
            if worker is None or not await worker.reacts() or worker.spent:
                self._leaving += [worker] if worker else []
                worker = self._shared[source.digest] = await self._take(source)
        try:
            yield worker
        finally:
            self._tidy()

    @asynccontextmanager
    async def alone(self, source: ToolFiles) -> AsyncGenerator[WorkerProcess]:
        """A process for one call. It is ended if the call fails to come to an end, or leaves
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
            if worker.source.digest == source.digest and not worker.spent:
                self._free.remove(worker)
                return worker
        return await WorkerProcess.start(source, self._processes, self._breath)

    def _tidy(self) -> None:
        """Ends what is idle and not worth keeping."""
        useless = [each for each in self._free if not self._is_current(each) or each.left_children]
        useless += self._free[:-_FREE]
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
