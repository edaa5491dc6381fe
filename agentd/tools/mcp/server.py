"""Keeps the connection to one MCP server: starts it, watches it, and restarts it when it fails."""

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

from agentd.manifest.json_schema.check import schema_error
from agentd.manifest.mcp import McpPrompt, McpResource, McpServer
from agentd.tools.mcp.offers import Offers, offers
from agentd.tools.port import ToolError
from agentd.tools.processes.child import Child, ChildError
from agentd.tools.processes.environment import environment
from agentd.tools.processes.processes import Processes

if TYPE_CHECKING:
    from agentd.tools.mcp.client import Connection, Described

log = logging.getLogger(__name__)

_LAUNCHER = re.compile(r"npx|bunx|uvx|node|python[0-9.]*")
_SETTLING = 0.1  # seconds between a notification and a check: notifications come in bursts

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class TimeLimits:
    """The time limits for a server, in seconds.

    Attributes:
        start: until its first answer; `npx` may have to download it.
        check: between two checks of a server that sends no notifications.
        answer: for the answer to a check.
        silence: without any answer while calls are running.
        first_pause, longest_pause: before a restart; doubled each time.
        linger: until a server without users is stopped; an edit may need it again.
    """

    start: float = 60.0
    check: float = 30.0
    answer: float = 10.0
    silence: float = 60.0
    first_pause: float = 0.5
    longest_pause: float = 60.0
    linger: float = 5.0


class McpConnection:
    """One server, shared by all agents that declare it alike.

    One task, the keeper, owns the connection: the library `mcp` requires that a client is entered
    and left in the same task.

    Attributes:
        name: its program, or the host and path of its address.
        offers: its tools at this moment; a check that finds others makes a new object.
        settled: set when the first attempt to connect has succeeded or failed.
    """

    def __init__(
        self,
        declared: McpServer,
        environ: Mapping[str, str],
        limits: TimeLimits,
        processes: Processes,
    ) -> None:
        self.name = _name(declared)
        self.offers = Offers()
        self._described: tuple[Described, ...] = ()
        self._settling = _SETTLING
        self.settled = asyncio.Event()
        self._declared = declared
        self._environ = environ
        self._limits = limits
        self._processes = processes
        self._why = "is not connected yet"
        self._connection: Connection | None = None
        self._changed = asyncio.Event()
        self._in_flight = 0
        self._answered_at = 0.0  # by the monotonic clock
        self._texts: dict[str, str] = {}
        self._child: Child | None = None
        self._stopping = False
        self._keeper = asyncio.create_task(self._keep(), name=f"mcp {self.name}")

    @property
    def trouble(self) -> str:
        """Why it is not connected; empty when it is."""
        return "" if self._connection is not None else f"{self.name}: {self._why}"

    async def stop(self) -> None:
        """Ends the connection. A program is ended, with all that it has started."""
        # The flag is needed beside `cancel`: the library swallows a cancellation that arrives while
        # it ends its own tasks.
        self._stopping = True
        self._keeper.cancel()
        await asyncio.wait([self._keeper])
        if self._child is not None:
            await self._child.stop()

    async def call(self, tool: str, arguments: Mapping[str, Any], key: str) -> Any:
        """The answer of a tool: text or plain data. The request has `key` as
        `_meta["agentd/key"]`, so that a server can recognize a repeated call.

        Raises:
            ToolError: the server gave no answer, or reports an error.
        """
        meta = {"agentd/key": key}
        return await self._ask(lambda connection: connection.call(tool, arguments, meta))

    async def text(self, wanted: McpResource | McpPrompt) -> str:
        """A resource or a prompt, kept until the next check.

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
            raise ToolError(
                f"the connection to {self.name} ended before it answered: {error}"
            ) from None
        except (McpRefused, asyncio.CancelledError):
            self._changed.set()  # check now whether it still answers
            raise
        finally:
            self._in_flight -= 1
        self._answered_at = time.monotonic()
        return answer

    async def _keep(self) -> None:
        pause, before = self._limits.first_pause, ""
        while not self._stopping:
            started = time.monotonic()
            why = await self._serve()
            if self._stopping:
                break
            if time.monotonic() - started > self._limits.longest_pause:
                pause = self._limits.first_pause
            delay = pause * random.uniform(0.75, 1.25)
            pause = min(2 * pause, self._limits.longest_pause)
            # A server that fails in the same way again is not worth a warning each minute.
            log.log(logging.DEBUG if why == before else logging.WARNING, "%s: %s", self.name, why)
            before, self._why = why, f"{why}, next attempt in {math.ceil(delay)} s"
            self.settled.set()
            await asyncio.sleep(delay)

    async def _serve(self) -> str:
        """Connects and keeps the connection as long as it lasts; then the reason why it ended."""
        library = await asyncio.to_thread(_library)
        try:
            async with (
                asyncio.timeout(self._limits.start) as limit,
                self._connected(library) as connection,
            ):
                tools = await connection.tools()
                limit.reschedule(None)
                return await self._attend(connection, tools)
        except TimeoutError:
            return f"gave no answer within {self._limits.start:g} s"
        except (library.Lost, ToolError, ChildError) as error:
            return str(error)
        except Exception as error:
            log.exception("the connection to %s failed because of a bug", self.name)
            return f"{type(error).__name__}: {error}"
        finally:
            self._connection = None
            self.offers, self._described = Offers(), ()
            self._texts.clear()

    @contextlib.asynccontextmanager
    async def _connected(self, library: ModuleType) -> AsyncGenerator[Connection]:
        declared = self._declared
        if declared.url is not None:
            opened = library.over_http(declared.url, declared.headers, self._changed.set)
        else:
            assert declared.command
            env = program_environment(declared, self._environ)
            self._child = await Child.start(
                self._processes, self.name, declared.command, env=env, cwd=declared.cwd
            )
            opened = library.over_stdio(self._child, self._changed.set)
        async with opened as connection:
            yield connection

    async def _attend(self, connection: Connection, tools: tuple[Described, ...]) -> str:
        """Keeps the tools up to date until the connection ends; then the reason."""
        await self._offer(tools)
        self._connection = connection
        self._answered_at = time.monotonic()
        self.settled.set()
        log.info("%s: connected, %d tools", self.name, len(tools))
        listening = asyncio.create_task(connection.listen())
        try:
            while True:
                notified = await self._wait_for_change(connection)
                if connection.lost:
                    return connection.lost
                if self._in_flight and not notified:
                    continue  # the running calls notice if it does not answer
                if not await self._check(connection):
                    return "does not answer any more"
                if listening.done():
                    listening = asyncio.create_task(connection.listen())
        finally:
            listening.cancel()

    async def _offer(self, tools: tuple[Described, ...]) -> None:
        """Offers these tools from now on."""
        if tools != self._described:
            self.offers = await asyncio.to_thread(offers, tools)
            self._described = tools

    async def _wait_for_change(self, connection: Connection) -> bool:
        """Waits for the next check; True if there was a notification before it was due."""
        began = time.monotonic()
        if not await self._notified(self._limits.check):
            self._settling = _SETTLING
            return False
        # Some servers report a change after each list of their tools, and so without end.
        restless = time.monotonic() - began < 2 * self._settling
        longer = min(2 * self._settling, self._limits.check)
        self._settling = longer if restless else _SETTLING
        until = time.monotonic() + self._settling
        while not connection.lost and (left := until - time.monotonic()) > 0:
            await self._notified(left)
        return True

    async def _notified(self, seconds: float) -> bool:
        """Waits for a notification; False if there was none in this time."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    async def _check(self, connection: Connection) -> bool:
        """Asks for the tools and forgets the texts; False if the server does not answer."""
        try:
            async with asyncio.timeout(self._limits.answer) as limit:
                tools = await connection.tools(lambda: _extend(limit, self._limits.answer))
        except TimeoutError:
            # A server that handles one request at a time may be busy with a call.
            silent = time.monotonic() - self._answered_at
            return self._in_flight > 0 and silent < self._limits.silence
        await self._offer(tools)
        self._texts.clear()
        self._answered_at = time.monotonic()
        return True


def _extend(limit: asyncio.Timeout, seconds: float) -> None:
    """Gives the next page of a list as much time as the first one."""
    limit.reschedule(asyncio.get_running_loop().time() + seconds)


def _text(connection: Connection, wanted: McpResource | McpPrompt) -> Awaitable[str]:
    if isinstance(wanted, McpResource):
        return connection.resource(wanted.uri)
    return connection.prompt(wanted.prompt, wanted.arguments)


def _library() -> ModuleType:
    """Imports the MCP library and the library that checks schemas. Both take long, so this runs in
    a thread."""
    from agentd.tools.mcp import client

    schema_error({})
    return client


def program_environment(declared: McpServer, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a server. Its PATH also has the folder of our Python, where servers are
    installed beside agentd."""
    own_folder = str(PurePath(sys.executable).parent)
    path = ":".join(filter(None, (environ.get("PATH"), own_folder)))
    return environment({"PATH": path, **declared.env}, environ)


def _name(declared: McpServer) -> str:
    """`mcp-server-time` for `uvx mcp-server-time`; host and path, without a password, for a URL."""
    if declared.url is not None:
        parts = urlsplit(declared.url)
        return f"{parts.netloc.rpartition('@')[2]}{parts.path}"
    words = [word for word in declared.command or () if not word.startswith("-")] or ["?"]
    launched = len(words) > 1 and _LAUNCHER.fullmatch(PurePath(words[0]).name)
    word = words[1] if launched else words[0]
    return word if word.startswith("@") else PurePath(word).name  # all of npm's @scope/name
