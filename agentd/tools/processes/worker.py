"""The process in which functions of `tools/` run: `python -m agentd.tools.processes.worker`.

Its parent writes requests to its standard input and reads answers from its standard output. The
first frame has the files; every other one has an `id` and asks for one thing:

    {"describe": "weather.py:forecast"}                            its schema, or what is wrong
    {"call": "weather.py:forecast", "arguments": {...}, "key": ""} {"answer": ...} or {"error": ""}
    {"cancel": 7}                                                  ends a call as far as possible
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
_PIECE = 65_536


class Worker:
    """Runs what is asked for: sync functions in threads, async ones in an event loop beside them,
    so that whoever reads the requests never waits for a function."""

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
        """Begins what is asked for."""
        number = request["id"]
        if "cancel" in request:
            self._cancel(request["cancel"])
            self._tell(id=number, answer=None)
        elif "describe" in request:
            self._threads.submit(self._describe, number, request["describe"])
        else:
            call = self._threaded[number] = self._threads.submit(self._call, number, request)
            call.add_done_callback(lambda _: self._threaded.pop(number, None))

    def _cancel(self, number: int) -> None:
        """Ends an async call, and a sync one that has not begun; a thread cannot be ended."""
        awaited, threaded = self._awaited.get(number), self._threaded.get(number)
        if awaited:
            awaited.cancel()
        elif threaded and threaded.cancel():
            self._tell(id=number, error="cancelled", children=False)

    def _describe(self, number: int, name: str) -> None:
        self._tell(id=number, answer=describe(self._modules, name))

    def _call(self, number: int, request: Mapping[str, Any]) -> None:
        try:
            function = self._function(request["call"])
            arguments = function.bind(request["arguments"], request["key"])
            answer = function.call(**arguments)
            if inspect.isawaitable(answer):
                self._await(number, answer)
                return
            self._tell(id=number, answer=plain(answer), children=_has_children())
        except BaseException as error:  # noqa: BLE001 (a function may raise SystemExit, too)
            self._tell(id=number, error=self._in_words(error), children=_has_children())

    def _function(self, name: str) -> Function:
        function = self._functions.get(name)
        if function is None:
            function = self._functions[name] = load(self._modules, name)
        return function

    def _await(self, number: int, answer: Awaitable[Any]) -> None:
        async def awaited() -> None:
            try:
                self._tell(id=number, answer=plain(await answer), children=_has_children())
            except BaseException as error:  # noqa: BLE001
                self._tell(id=number, error=self._in_words(error), children=_has_children())

        call = self._awaited[number] = asyncio.run_coroutine_threadsafe(awaited(), self._loop)
        call.add_done_callback(lambda _: self._awaited.pop(number, None))

    def _in_words(self, error: BaseException) -> str:
        """An error as the model is told it, with the place where the author finds it."""
        if isinstance(error, BadArguments | NoAnswer):
            return str(error)
        text = f"{type(error).__name__}: {error}".removesuffix(": ")
        place = self._modules.place_of(error)
        return text[:_LONGEST] + (f" ({place[0]}:{place[1]})" if place else "")

    def _tell(self, **message: Any) -> None:
        data = frame(message)
        with self._writing:
            self._answers.write(data)
            self._answers.flush()


def _has_children() -> bool:
    """Whether a call left processes behind; where the system cannot tell, it did not."""
    with suppress(ChildProcessError, AttributeError):
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return True
    return False


def _private_pipes() -> tuple[int, BinaryIO]:
    """The parent's pipes, out of reach of the functions: what they print goes to stderr, and what
    they read is empty."""
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    return requests, os.fdopen(answers, "wb")


def _adopt_orphans() -> None:
    """Whose parent ends becomes our child, so that `_has_children` knows of it. Linux only."""
    with suppress(AttributeError):
        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def main() -> None:
    """Serves until the parent is gone, and takes with it whatever it has started."""
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
