"""One connection to an MCP server, through the library `mcp`, with plain data.

To import `mcp` takes a second. So this module is imported late, by `server`, in a thread.
"""

from __future__ import annotations

import contextlib
import json
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
from agentd.tools.mcp.offers import MOST_TOOLS, Described
from agentd.tools.mcp.text import both, resource_text, text_of
from agentd.tools.port import ToolError
from agentd.tools.processes.child import Child

for _name in ("mcp", "client"):
    # It logs a traceback for each invalid answer. The caller reports the same error in one line.
    logging.getLogger(_name).setLevel(logging.CRITICAL)

_ME = mcp_types.Implementation(name="agentd", version="1")
_CHANGES = (
    mcp_types.ToolListChangedNotification,
    mcp_types.PromptListChangedNotification,
    mcp_types.ResourceListChangedNotification,
    mcp_types.ResourceUpdatedNotification,
)


class Lost(AgentdError):
    """There is no connection, or it ended; the text says why."""


class McpRefused(ToolError):
    """The server refused a request, or its answer is not valid MCP."""


@dataclass
class _Status:
    """What the transport has noticed. The errors of the library say less.

    Attributes:
        changed: called when something may have changed.
        lost: why the connection has ended; empty while it lasts.
        refused: the last error response over HTTP.
        fate: how the program has ended.
    """

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
    """A connection that works. Every method may raise `Lost` or `McpRefused`."""

    def __init__(self, client: Client, status: _Status) -> None:
        self._client = client
        self._status = status

    @property
    def lost(self) -> str:
        """Why the connection has ended; empty while it lasts."""
        return self._status.lost

    async def tools(self, on_page: Callable[[], None] = lambda: None) -> tuple[Described, ...]:
        """All tools of the server, or a few more than `MOST_TOOLS`. `on_page` is called after each
        page of the list."""
        # A server without this capability answers `tools/list` with an error.
        if self._client.server_capabilities.tools is None:
            return ()
        found: dict[str, Described] = {}
        cursor: str | None = None
        with self._plainly():
            while len(found) <= MOST_TOOLS:
                page = await self._client.list_tools(cursor=cursor)
                on_page()
                known = len(found)
                for tool in page.tools:
                    found.setdefault(tool.name, _described(tool))
                cursor = page.next_cursor
                # Some servers send the same page, with a cursor, for ever.
                if not cursor or len(found) == known:
                    break
        return tuple(found.values())

    async def call(self, name: str, arguments: Mapping[str, Any], meta: Mapping[str, Any]) -> Any:
        """Calls a tool; its text and its structured content, or the one that there is.

        `meta` is sent with the request. If the caller is cancelled, the server is notified.

        Raises:
            ToolError: the server reports an error.
        """
        with self._plainly():
            wire_meta: Any = dict(meta)
            result = await self._client.call_tool(name, dict(arguments), meta=wire_meta)
        answer = both(text_of(result.content), result.structured_content)
        if result.is_error:
            text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
            raise ToolError(text or f"{name} failed and gave no reason")
        return answer

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

    async def listen(self) -> None:
        """Subscribes to changes of the server; returns when the server ends the subscription.

        Servers with a protocol before 2026-07-28 send notifications without a subscription.
        """
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
        """Turns the errors of the library into ours."""
        try:
            yield
        except MCPError as error:
            if error.code == mcp_types.CONNECTION_CLOSED:
                raise Lost(self.lost or "closed the connection") from None
            raise McpRefused(f"the server answered with an error: {error}") from None
        except (ValidationError, RuntimeError) as error:
            raise McpRefused(f"the answer is not valid MCP: {error}") from None


@contextlib.asynccontextmanager
async def over_stdio(child: Child, changed: Callable[[], None]) -> AsyncGenerator[Connection]:
    """Connects to a program, which is stopped at the end of the block. `changed` is called when
    its tools or resources may have changed, or when it may have ended.

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
    """Connects to a server over streamable HTTP; `changed` is the same as for `over_stdio`.

    Raises:
        Lost: it cannot be reached, refuses the connection or does not speak MCP. If the connection
            ends later, the block is cancelled first.
    """
    status = _Status(changed)
    async with _opened(wire.http(url, headers, status.refuse), status) as connection:
        yield connection


@contextlib.asynccontextmanager
async def _opened(transport: Any, status: _Status) -> AsyncGenerator[Connection]:
    async def on_message(message: mcp_types.ServerNotification | Exception) -> None:
        if isinstance(message, _CHANGES):
            status.changed()

    # `server` asks only when something may have changed, so a cache would give old answers.
    client = Client(transport, message_handler=on_message, client_info=_ME, cache=None)
    try:
        async with client:
            yield Connection(client, status)
    except (ExceptionGroup, MCPError, HTTPError, ValidationError, RuntimeError) as error:
        raise _plain(error, status) from None


def _plain(error: BaseException, status: _Status) -> BaseException:
    """Our error for one that went through the task groups of the library."""
    # Each task group wraps the error of its task into a group; the first one is the cause.
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, HTTPError):
        return Lost(f"cannot be reached: {error}")
    if isinstance(error, MCPError):
        return Lost(
            status.lost or status.fate() or status.refused or f"answered with an error: {error}"
        )
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
