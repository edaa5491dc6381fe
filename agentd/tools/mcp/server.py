"""Keeps one MCP server alive: connects, asks for its tools, starts it again when it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import re
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from agentd.manifest.json_schema import schema_error
from agentd.manifest.mcp import McpPrompt, McpResource, McpServer
from agentd.tools.port import ToolError
from agentd.tools.processes.child import Child, ChildError
from agentd.tools.processes.processes import Processes

if TYPE_CHECKING:
    from agentd.tools.mcp.client import Connection, Described

log = logging.getLogger(__name__)

_INHERITED = (
    *("HOME", "USER", "LOGNAME", "SHELL", "TERM", "TMPDIR", "TZ"),
    *("LANG", "LC_ALL", "LC_CTYPE"),
)
_LAUNCHER = re.compile(r"npx|bunx|uvx|node|python[0-9.]*")
_BREATH = 0.1  # seconds before a look: changes come in swarms

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Seconds that a server is given.

    Attributes:
        start: until it has answered for the first time; it may have to be downloaded.
        look: between two looks at one that says nothing.
        answer: until a look is answered.
        silence: without any answer, while calls are waiting.
        first_pause, longest_pause: before it is tried again; doubled each time.
        linger: after its last user is gone; an edit may bring it back.
    """

    start: float = 60.0
    look: float = 30.0
    answer: float = 10.0
    silence: float = 60.0
    first_pause: float = 0.5
    longest_pause: float = 60.0
    linger: float = 5.0


class McpConnection:
    """One server for all agents that declare it the same.

    Attributes:
        name: what people call it: its program, or host and path of its address.
        tools: what it offers at the moment; another tuple whenever it was asked anew.
        settled: set once the first attempt to reach it has succeeded or failed.
    """

    def __init__(
        self,
        declared: McpServer,
        environ: Mapping[str, str],
        patience: Patience,
        processes: Processes,
    ) -> None:
        self.name = _name(declared)
        self.tools: tuple[Described, ...] = ()
        self.settled = asyncio.Event()
        self._declared = declared
        self._environ = environ
        self._patience = patience
        self._processes = processes
        self._why = "is not connected yet"
        self._connection: Connection | None = None
        self._news = asyncio.Event()
        self._in_flight = 0
        self._heard = 0.0  # when it last answered
        self._texts: dict[str, str] = {}
        self._child: Child | None = None
        self._leaving = False
        self._keeper = asyncio.create_task(self._keep(), name=f"mcp {self.name}")

    @property
    def trouble(self) -> str:
        """Why it is not there, in words; empty when it is."""
        return "" if self._connection is not None else f"{self.name}: {self._why}"

    async def stop(self) -> None:
        """Leaves it; a program is ended, with all that it has started."""
        # Said twice: a cancellation that comes while the library ends its tasks is lost in there.
        self._leaving = True
        self._keeper.cancel()
        await asyncio.wait([self._keeper])
        if self._child is not None:
            await self._child.stop()

    async def call(self, tool: str, arguments: Mapping[str, Any], key: str) -> Any:
        """What a tool answers: a text or plain data. `key` goes along as the request's
        `_meta["agentd/key"]`, for servers that want to know a call which is repeated.

        Raises:
            ToolError: it gave no answer, or says that it failed.
        """
        meta = {"agentd/key": key}
        return await self._ask(lambda connection: connection.call(tool, arguments, meta))

    async def text(self, wanted: McpResource | McpPrompt) -> str:
        """A resource or a prompt, as it was at the last look.

        Raises:
            ToolError: the server does not give it.
        """
        key = wanted.model_dump_json(exclude={"default"})
        if key not in self._texts:
            self._texts[key] = await self._ask(lambda connection: _text(connection, wanted))
        return self._texts[key]

    async def _ask(self, request: Callable[[Connection], Awaitable[_T]]) -> _T:
        from agentd.tools.mcp.client import Lost, McpRefused

        if self._connection is None:
            raise ToolError(self.trouble)
        self._in_flight += 1
        try:
            answer = await request(self._connection)
        except Lost as error:
            raise ToolError(f"{self.name} went away before it answered: {error}") from None
        except (McpRefused, asyncio.CancelledError):
            self._news.set()  # is it still there, and does it still answer?
            raise
        finally:
            self._in_flight -= 1
        self._heard = time.monotonic()
        return answer

    async def _keep(self) -> None:
        pause, before = self._patience.first_pause, ""
        while not self._leaving:
            started = time.monotonic()
            why = await self._serve()
            if self._leaving:
                break
            if time.monotonic() - started > self._patience.longest_pause:
                pause = self._patience.first_pause
            delay = pause * random.uniform(0.75, 1.25)
            pause = min(2 * pause, self._patience.longest_pause)
            log.log(logging.DEBUG if why == before else logging.WARNING, "%s: %s", self.name, why)
            before, self._why = why, f"{why}, next try after {math.ceil(delay)} s"
            self.settled.set()
            await asyncio.sleep(delay)

    async def _serve(self) -> str:
        """Connects and stays so for as long as it can; then, why it cannot."""
        library = await asyncio.to_thread(_library)
        try:
            async with (
                asyncio.timeout(self._patience.start) as limit,
                self._connected(library) as connection,
            ):
                tools = await connection.tools()
                limit.reschedule(None)
                return await self._attend(connection, tools)
        except TimeoutError:
            return f"gave no answer within {self._patience.start:g} s"
        except (library.Lost, ToolError, ChildError) as error:
            return str(error)
        except Exception as error:
            log.exception("a bug in the connection to %s", self.name)
            return f"{type(error).__name__}: {error}"
        finally:
            self._connection, self.tools = None, ()
            self._texts.clear()

    @contextlib.asynccontextmanager
    async def _connected(self, library: ModuleType) -> AsyncGenerator[Connection]:
        declared = self._declared
        if declared.url is not None:
            opened = library.over_http(declared.url, declared.headers, self._news.set)
        else:
            assert declared.command
            env = environment(self._environ) | declared.env
            self._child = await Child.start(
                self._processes, self.name, declared.command, env=env, cwd=declared.cwd
            )
            opened = library.over_stdio(self._child, self._news.set)
        async with opened as connection:
            yield connection

    async def _attend(self, connection: Connection, tools: tuple[Described, ...]) -> str:
        """Keeps its tools up to date until it is gone; then, why."""
        self._connection, self.tools, self._heard = connection, tools, time.monotonic()
        self.settled.set()
        log.info("%s: connected, %d tools", self.name, len(tools))
        hearing = asyncio.create_task(connection.hear())
        try:
            while True:
                told = await self._wait_for_news()
                if connection.lost:
                    return connection.lost
                if self._in_flight and not told:
                    continue  # whoever has called it will tell if it does not answer
                if not await self._look(connection):
                    return "does not answer any more"
                if hearing.done():
                    hearing = asyncio.create_task(connection.hear())
        finally:
            hearing.cancel()

    async def _wait_for_news(self) -> bool:
        """Waits until something may have changed, or until it is time to look anyway."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience.look):
                await self._news.wait()
                await asyncio.sleep(_BREATH)
        told = self._news.is_set()
        self._news.clear()
        return told

    async def _look(self, connection: Connection) -> bool:
        """Asks for the tools; texts are to be fetched anew. False if it does not answer."""
        try:
            async with asyncio.timeout(self._patience.answer):
                self.tools = await connection.tools()
        except TimeoutError:
            # A program that does one thing at a time may be busy with a call.
            silent = time.monotonic() - self._heard
            return self._in_flight > 0 and silent < self._patience.silence
        self._texts.clear()
        self._heard = time.monotonic()
        return True


def _text(connection: Connection, wanted: McpResource | McpPrompt) -> Awaitable[str]:
    if isinstance(wanted, McpResource):
        return connection.resource(wanted.uri)
    return connection.prompt(wanted.prompt, wanted.arguments)


def _library() -> ModuleType:
    """What speaks MCP, imported now: it takes a second, and not in the event loop's thread. So does
    what checks schemas."""
    from agentd.tools.mcp import client

    schema_error({})
    return client


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a program gets to know of ours. It finds those that are installed beside agentd, too."""
    beside = str(PurePath(sys.executable).parent)
    path = ":".join(filter(None, (environ.get("PATH"), beside)))
    return {name: environ[name] for name in _INHERITED if name in environ} | {"PATH": path}


def _name(declared: McpServer) -> str:
    if declared.url is not None:
        parts = urlsplit(declared.url)
        return f"{parts.netloc.rpartition('@')[2]}{parts.path}"
    words = [word for word in declared.command or () if not word.startswith("-")] or ["?"]
    launched = len(words) > 1 and _LAUNCHER.fullmatch(PurePath(words[0]).name)
    word = words[1] if launched else words[0]
    return word if word.startswith("@") else PurePath(word).name  # of npm's @scope/name all
