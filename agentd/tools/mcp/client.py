"""One connection to an MCP server, in plain data.

Importing the mcp library takes a second: only the supervisor of a server does so, in a thread.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

import mcp_types
from httpx2 import HTTPError
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from agentd.errors import AgentdError
from agentd.tools.mcp import wire
from agentd.tools.mcp.text import resource_text, text_of
from agentd.tools.port import ToolError
from agentd.tools.processes.child import Child

for _name in ("mcp", "client"):
    # What it logs with tracebacks, a wrong answer say, is told in a line by whoever asked.
    logging.getLogger(_name).setLevel(logging.CRITICAL)

_PAGES = 50  # of a list of tools
_ME = mcp_types.Implementation(name="agentd", version="1")
_CHANGES = (
    mcp_types.ToolListChangedNotification,
    mcp_types.PromptListChangedNotification,
    mcp_types.ResourceListChangedNotification,
    mcp_types.ResourceUpdatedNotification,
)


class Lost(AgentdError):
    """The server is not there (any more); the text says why."""


class McpRefused(ToolError):
    """The server did not take a request, or its answer is not as MCP has it."""


@dataclass(frozen=True)
class Described:
    """A tool as the server describes it; `again`: calling it twice does no more than once."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    again: bool


@dataclass
class _Status:
    """Why there is no connection any more, and what is known of a server that gave none."""

    changed: Callable[[], None]
    lost: str = ""
    refused: str = ""
    fate: Callable[[], str] = str

    def ended(self, how: str) -> None:
        self.lost = how
        self.changed()

    def refuse(self, how: str) -> None:
        self.refused = how


class Connection:
    """A server that has answered. Every method may raise Lost or Refused."""

    def __init__(self, client: Client, status: _Status) -> None:
        self._client = client
        self._status = status

    @property
    def lost(self) -> str:
        """Why there is no connection any more, in words; empty while there is."""
        return self._status.lost

    async def tools(self) -> tuple[Described, ...]:
        """All tools of the server."""
        if self._client.server_capabilities.tools is None:
            return ()
        found: list[Described] = []
        cursor: str | None = None
        with self._plainly():
            for _ in range(_PAGES):
                page = await self._client.list_tools(cursor=cursor)
                found += map(_described, page.tools)
                cursor = page.next_cursor
                if cursor is None:
                    break
        return tuple(found)

    async def call(self, name: str, arguments: Mapping[str, Any], meta: Mapping[str, Any]) -> Any:
        """The answer of a tool: a text, or structured content where there is no text. `meta` goes
        with the request. Cancelled, it tells the server so."""
        with self._plainly():
            wire_meta: Any = dict(meta)
            result = await self._client.call_tool(name, dict(arguments), meta=wire_meta)
        text = text_of(result.content)
        if result.is_error:
            raise ToolError(text or "it failed, and did not say why")
        return text or ("" if result.structured_content is None else result.structured_content)

    async def resource(self, uri: str) -> str:
        """A resource as text."""
        with self._plainly():
            result = await self._client.read_resource(uri)
        return resource_text(result.contents)

    async def prompt(self, name: str, arguments: Mapping[str, str]) -> str:
        """The text of a prompt's messages."""
        with self._plainly():
            result = await self._client.get_prompt(name, dict(arguments))
        return "\n\n".join(text_of([message.content]) for message in result.messages)

    async def hear(self) -> None:
        """Asks to be told of changes; returns when the server tells of them no more. Servers of
        before 2026-07-28 tell of them unasked."""
        if self._client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return
        with contextlib.suppress(MCPError, ValidationError, RuntimeError, TimeoutError):
            async with self._client.listen(
                tools_list_changed=True, prompts_list_changed=True, resources_list_changed=True
            ) as events:
                async for _ in events:
                    self._status.changed()

    @contextlib.contextmanager
    def _plainly(self) -> Generator[None]:
        """What the library raises for an answer, as what we raise."""
        try:
            yield
        except MCPError as error:
            if error.code == mcp_types.CONNECTION_CLOSED:
                raise Lost(self.lost or "closed the connection") from None
            raise McpRefused(f"the server says: {error}") from None
        except (ValidationError, RuntimeError) as error:
            raise McpRefused(f"the answer is not as it should be: {error}") from None


@contextlib.asynccontextmanager
async def over_stdio(child: Child, changed: Callable[[], None]) -> AsyncGenerator[Connection]:
    """Speaks with a program, which ends with the block. `changed` is called when something may
    have changed: its tools, its resources, or that it is there at all.

    Raises:
        Lost: it ended before it answered, or does not speak MCP.
    """
    status = _Status(changed, fate=lambda: child.fate)
    async with _opened(wire.stdio(child, status.ended), status) as connection:
        yield connection


@contextlib.asynccontextmanager
async def over_http(
    url: str, headers: Mapping[str, str], changed: Callable[[], None]
) -> AsyncGenerator[Connection]:
    """Speaks with a server over streamable HTTP; `changed` as above.

    Raises:
        Lost: it is not there, refuses us or does not speak MCP; also when it goes away later: then
            the block is cancelled.
    """
    status = _Status(changed)
    async with _opened(wire.http(url, headers, status.refuse), status) as connection:
        yield connection


@contextlib.asynccontextmanager
async def _opened(transport: Any, status: _Status) -> AsyncGenerator[Connection]:
    async def hear(message: mcp_types.ServerNotification | Exception) -> None:
        if isinstance(message, _CHANGES):
            status.changed()

    # Our supervisor asks only when it wants to know: no cache.
    client = Client(transport, message_handler=hear, client_info=_ME, cache=None)
    try:
        async with client:
            yield Connection(client, status)
    except (ExceptionGroup, MCPError, HTTPError, ValidationError, RuntimeError) as error:
        raise _plain(error, status) from None


def _plain(error: BaseException, status: _Status) -> BaseException:
    """What to raise for an error that went through the task groups of the library."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, HTTPError):
        return Lost(f"cannot be reached: {error}")
    if isinstance(error, MCPError):
        return Lost(status.lost or status.fate() or status.refused or f"says: {error}")
    if isinstance(error, ValidationError | RuntimeError):
        return Lost(f"does not speak MCP: {error}")
    return error


def _described(tool: mcp_types.Tool) -> Described:
    hints = tool.annotations
    return Described(
        name=tool.name,
        description=tool.description or tool.title or "",
        parameters=tool.input_schema,
        again=bool(hints and (hints.read_only_hint or hints.idempotent_hint)),
    )
