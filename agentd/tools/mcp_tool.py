"""The tools, resources and prompts of MCP servers."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentd.catalog.spec import AgentSpec
from agentd.errors import TaskError
from agentd.manifest import tools as manifest_tools
from agentd.manifest.mcp import McpPrompt, McpResource, McpServer
from agentd.problems import Problem, did_you_mean
from agentd.tools.mcp.offers import Offer, Offers
from agentd.tools.mcp.server import McpConnection, TimeLimits, program_environment
from agentd.tools.port import Call, Tool, ToolError
from agentd.tools.processes.processes import Processes

log = logging.getLogger(__name__)

_TIMEOUT = 10.0  # seconds for a text, or for the first connection, unless the manifest says


class McpServers:
    """All MCP servers of this process.

    Agents that declare the same server share one connection. It ends when no revision uses it.
    """

    def __init__(
        self, environ: Mapping[str, str] = os.environ, *, limits: TimeLimits | None = None
    ) -> None:
        self._environ = environ
        self._limits = limits or TimeLimits()
        self._processes = Processes()
        self._servers: dict[str, McpConnection] = {}
        self._users: dict[str, int] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    async def check(self, spec: AgentSpec) -> list[Problem]:
        """Warns of programs that are missing. It is no error: the agents may be meant for another
        machine."""
        return [
            spec.problem("tools", index, "mcp", "command", text=text, severity="warning")
            for index, declared in enumerate(spec.manifest.tools)
            if declared.mcp and (text := self._missing(declared.mcp))
        ]

    def _missing(self, declared: McpServer) -> str:
        if not declared.command:
            return ""
        program = declared.command[0]
        path = program_environment(declared, self._environ)["PATH"]
        place = (declared.cwd or Path()) / program if "/" in program else program
        return "" if shutil.which(place, path=path) else f"there is no program `{program}` here"

    def open(self, entry: manifest_tools.ToolEntry, spec: AgentSpec) -> McpSource:
        """The tools of an entry. Its server is started in the background."""
        assert entry.mcp is not None
        declared = entry.mcp
        key = json.dumps(declared.model_dump(mode="json", exclude={"resources", "prompts"}))
        if key not in self._servers:
            self._servers[key] = McpConnection(
                declared, self._environ, self._limits, self._processes
            )
        self._users[key] = self._users.get(key, 0) + 1
        source = McpSource(self._servers[key], entry, spec.name)
        # After an edit, runs of the previous revision still use its server. The last of them drops
        # its reference to the source at a moment that only the garbage collector knows.
        loop = asyncio.get_running_loop()
        weakref.finalize(source, _in_loop, loop, self._release, key).atexit = False
        return source

    async def close(self) -> None:
        """Ends all servers."""
        await asyncio.gather(*(server.stop() for server in self._servers.values()))
        self._servers.clear()
        await asyncio.gather(*self._leaving)
        await self._processes.close()

    def _release(self, key: str) -> None:
        self._users[key] -= 1
        if not self._users[key]:
            loop = asyncio.get_running_loop()
            loop.call_later(self._limits.linger, self._stop_unused, key)

    def _stop_unused(self, key: str) -> None:
        if self._users[key] or key not in self._servers:
            return
        leaving = asyncio.create_task(self._servers.pop(key).stop())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)


class McpSource:
    """The tools and texts that one entry of one agent takes from a server."""

    def __init__(self, server: McpConnection, entry: manifest_tools.ToolEntry, agent: str) -> None:
        self._server = server
        self._entry = entry
        self._agent = agent
        self._offers = Offers()
        self._tools: tuple[McpTool, ...] = ()
        self._warned: set[str] = set()

    @property
    def tools(self) -> Sequence[Tool]:
        """The tools of the server at this moment; none while it is not connected."""
        if self._offers is not self._server.offers:
            self._offers = self._server.offers
            self._tools = tuple(McpTool(each, self._server) for each in self._offers.tools)
            self._warn_of_missing()
        return self._tools

    @property
    def trouble(self) -> str:
        return self._server.trouble

    async def prepare(self) -> Mapping[str, str]:
        """Waits until the server was tried at least once, then reads the texts for the prompt.

        Raises:
            TaskError: a text cannot be read, and the manifest has no default for it.
        """
        timeout = self._entry.timeout or _TIMEOUT
        try:
            async with asyncio.timeout(timeout):
                await self._server.settled.wait()
        except TimeoutError:
            log.warning("%s: the run starts without it", self.trouble, extra={"agent": self._agent})
        assert self._entry.mcp is not None
        texts = _texts(self._entry.mcp)
        found = await asyncio.gather(*(self._text(each, timeout) for each in texts.items()))
        return dict(zip(texts, found, strict=True))

    async def _text(self, item: tuple[str, McpResource | McpPrompt], timeout: float) -> str:
        name, wanted = item
        try:
            async with asyncio.timeout(timeout):
                return await self._server.text(wanted)
        except ToolError as error:
            why = str(error)
        except TimeoutError:
            why = f"{self._server.name} gave no answer within {timeout:g} s"
        if wanted.default is None:
            raise TaskError(f"mcp.{name}: {why}", code="mcp", retryable=True)
        log.warning("mcp.%s: %s; its default is used", name, why, extra={"agent": self._agent})
        return wanted.default

    def _warn_of_missing(self) -> None:
        """Logs which tools models cannot use, and names that the manifest has but the server has
        not."""
        names = [tool.name for tool in self._tools]
        for text in self._offers.left_out:
            self._warn(text)
        for name in (*(self._entry.allow or ()), *(self._entry.deny or ())):
            if names and name not in names:
                hint = did_you_mean(name, names) or f"it has {', '.join(names)}"
                self._warn(f"has no tool `{name}`; {hint}")

    def _warn(self, text: str) -> None:
        """Logs a text once, however often the server is restarted."""
        if text not in self._warned:
            self._warned.add(text)
            log.warning("%s: %s", self._server.name, text, extra={"agent": self._agent})


class McpTool:
    """A tool of a server; see `agentd.tools.port.Tool`.

    Attributes:
        takes_key: the server says that a repeated call has no further effect.
    """

    def __init__(self, offer: Offer, server: McpConnection) -> None:
        self.name = offer.name
        self.description = offer.tool.description
        self.parameters = offer.tool.parameters
        self.takes_key = offer.tool.again
        self._called = offer.tool.name
        self._server = server

    async def call(self, call: Call) -> Any:
        """The answer of the server; see `McpConnection.call`."""
        return await self._server.call(self._called, call.arguments, call.key)


def _texts(declared: McpServer) -> dict[str, McpResource | McpPrompt]:
    return {**declared.resources, **declared.prompts}


def _in_loop(loop: asyncio.AbstractEventLoop, release: Any, key: str) -> None:
    """Calls `release` in the event loop: the garbage collector runs in any thread."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(release, key)
