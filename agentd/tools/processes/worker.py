"""The program of a worker process, in which functions of `tools/` run.

The daemon runs it as `python -m agentd.tools.processes.worker`, writes frames to its standard input
and reads frames from its standard output. The first frame has the files of `tools/`. Every other
one has an `id` and one request:

    {"describe": "weather.py:forecast"}                            its schema, or its problems
    {"call": "weather.py:forecast", "arguments": {...}, "key": ""} {"answer": ...} or {"error": ""}
    {"cancel": 7}                                                  cancels call 7 if it can
"""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import os
import signal
import sys
import threading
from base64 import b64decode
from collections.abc import Awaitable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, BinaryIO

from agentd.tools.processes.description import describe, load
from agentd.tools.processes.frames import Frames, frame
from agentd.tools.processes.function_schema import BadArguments, Function
from agentd.tools.processes.modules import Modules, install
from agentd.tools.processes.plain import NoAnswer, plain

THREADS = 32
_LONGEST = 2_000  # characters of an error
_PIECE = 65_536  # bytes of one read


class Worker:
    """Runs functions: sync ones in threads, async ones in an event loop in another thread.

    The main thread only reads requests. It never waits for a function, so it can always take a
    cancellation.
    """

    def __init__(self, modules: Modules, answers: BinaryIO) -> None:
        self._modules = modules
        self._answers = answers
        self._writing = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS)
        self._functions: dict[str, Function] = {}
        self._threaded: dict[int, Future[Any]] = {}
        self._awaited: dict[int, Future[Any]] = {}
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def take(self, request: Mapping[str, Any]) -> None:
        """Starts what a request asks for; the answer is written later."""
        number = request["id"]
        if "cancel" in request:
            self._cancel(request["cancel"])
            self._answer(id=number, answer=None)
        elif "describe" in request:
            self._threads.submit(self._describe, number, request["describe"])
        else:
            call = self._threaded[number] = self._threads.submit(self._call, number, request)
            call.add_done_callback(lambda _: self._threaded.pop(number, None))

    def _cancel(self, number: int) -> None:
        """Cancels an async call, or a sync call that has not begun. A running thread cannot be
        stopped; the daemon replaces the process if too many hang."""
        awaited, threaded = self._awaited.get(number), self._threaded.get(number)
        if awaited:
            awaited.cancel()
        elif threaded and threaded.cancel():
            self._answer(id=number, error="cancelled", children=False)

    def _describe(self, number: int, name: str) -> None:
        self._answer(id=number, answer=describe(self._modules, name))

    def _call(self, number: int, request: Mapping[str, Any]) -> None:
        try:
            function = self._function(request["call"])
            arguments = function.bind(request["arguments"], request["key"])
            answer = function.call(**arguments)
            if inspect.isawaitable(answer):
                self._await(number, answer)
                return
            self._answer(id=number, answer=plain(answer), children=_has_children())
        except BaseException as error:  # noqa: BLE001 (a function may raise SystemExit, too)
            self._answer(id=number, error=self._text(error), children=_has_children())

    def _function(self, name: str) -> Function:
        function = self._functions.get(name)
        if function is None:
            function = self._functions[name] = load(self._modules, name)
        return function

    def _await(self, number: int, answer: Awaitable[Any]) -> None:
        async def awaited() -> None:
            try:
                self._answer(id=number, answer=plain(await answer), children=_has_children())
            except BaseException as error:  # noqa: BLE001
                self._answer(id=number, error=self._text(error), children=_has_children())

        call = self._awaited[number] = asyncio.run_coroutine_threadsafe(awaited(), self._loop)
        call.add_done_callback(lambda _: self._awaited.pop(number, None))

    def _text(self, error: BaseException) -> str:
        """An error for the model, with the file and line for the author of the function."""
        if isinstance(error, BadArguments | NoAnswer):
            return str(error)
        text = f"{type(error).__name__}: {error}".removesuffix(": ")
        place = self._modules.place_of(error)
        return text[:_LONGEST] + (f" ({place[0]}:{place[1]})" if place else "")

    def _answer(self, **message: Any) -> None:
        data = frame(message)
        # Threads answer at the same time; a frame must not be cut in two by another.
        with self._writing:
            self._answers.write(data)
            self._answers.flush()


def _has_children() -> bool:
    """Whether calls have left processes behind; False where the system cannot tell.

    WNOWAIT leaves an ended child to the function that started it, which may still wait for it.
    """
    with suppress(ChildProcessError, AttributeError):
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return True
    return False


def _private_pipes() -> tuple[int, BinaryIO]:
    """The pipes to the daemon, moved away from descriptors 0 and 1.

    Functions print to stdout, and so do libraries in C. From now on that goes to stderr, and stdin
    is empty.
    """
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    return requests, os.fdopen(answers, "wb")


def _adopt_orphans() -> None:
    """Makes this process the parent of orphans among its descendants, so that `_has_children` finds
    them. Linux only."""
    with suppress(AttributeError):
        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def main() -> None:
    """Serves until the daemon closes the pipe, then kills its own process group."""
    requests, answers = _private_pipes()
    _adopt_orphans()
    frames, worker = Frames(), None
    try:
        while data := os.read(requests, _PIECE):
            for message in frames.feed(data):
                if worker is None:
                    files = {name: b64decode(source) for name, source in message["files"].items()}
                    worker = Worker(install(message["folder"], files), answers)
                else:
                    worker.take(message)
    finally:
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
