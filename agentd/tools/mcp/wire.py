"""The transports of MCP, stdio and HTTP, with a limit on the size of a message."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Self

import anyio
import httpx2
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp_types import (
    INTERNAL_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    jsonrpc_message_adapter,
)

from agentd.errors import DecodeError
from agentd.protocol.strict_json import check_size
from agentd.tools.processes.child import LONGEST_LINE, Child, ChildError, TruncatedLine

log = logging.getLogger(__name__)

_CONNECT, _READ = 10.0, 300.0  # seconds: to connect, and between two pieces of a response
_EXIT_TIME = 0.5  # seconds for a program to end after it has closed its pipes
_KEPT = 1024  # bytes at both ends of an event that is too large
_TAIL = 64  # bytes at the end of a message that may have its id
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_ID_FIRST = re.compile(rb'^\{(?:"jsonrpc": ?"2\.0", ?)?"id": ?(\d{1,15}),')
_ID_LAST = re.compile(rb'"id": ?(\d{1,15})\}\s*$')

Ends = tuple["_Incoming", "_Outgoing"]


@contextlib.asynccontextmanager
async def stdio(child: Child, ended: Callable[[str], None]) -> AsyncGenerator[Ends]:
    """The two streams of a program. It is stopped at the end of the block. If it ends before,
    `ended` is called with the reason."""
    try:
        yield _Incoming(child, ended), _Outgoing(child)
    finally:
        await child.stop()


@contextlib.asynccontextmanager
async def http(
    url: str, headers: Mapping[str, str], refused: Callable[[str], None]
) -> AsyncGenerator[object]:
    """The two streams of a server over streamable HTTP. `refused` is called for each error
    response: the library drops the status."""

    async def bounded(response: httpx2.Response) -> None:
        if response.status_code >= 400:
            refused(f"answered with HTTP {response.status_code}")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        if (coding := response.headers.get("content-encoding", "identity")) != "identity":
            # The library would unpack it without a limit, and a few bytes can hold gigabytes.
            del response.headers["content-encoding"]
            response.stream = _Refused(response.stream, coding)
        elif response.headers.get("content-type", "").startswith("text/event-stream"):
            response.stream = _BoundedEvents(response.stream)
        else:
            response.stream = _Bounded(response.stream)

    async with (
        httpx2.AsyncClient(
            headers={"Accept-Encoding": "identity", **headers},
            timeout=httpx2.Timeout(_CONNECT, read=_READ),
            event_hooks={"response": [bounded]},
        ) as client,
        streamable_http_client(
            url, http_client=client, max_sse_event_size=LONGEST_LINE
        ) as both_ends,
    ):
        yield both_ends


class _End:
    """Does nothing when the library closes it: `stdio` stops the program."""

    async def aclose(self) -> None:
        return None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        return None


class _Incoming(_End):
    """The messages from a program."""

    def __init__(self, child: Child, ended: Callable[[str], None]) -> None:
        self._child = child
        self._ended = ended

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def receive(self) -> SessionMessage | Exception:
        while line := await self._child.line():
            message = _dropped(line) if isinstance(line, TruncatedLine) else _message(line)
            if message is not None:
                return SessionMessage(message)
        await self._child.ended(_EXIT_TIME)  # then `fate` knows how
        self._ended(self._child.fate or "closed its output")
        raise anyio.EndOfStream


class _Outgoing(_End):
    """The messages to a program."""

    def __init__(self, child: Child) -> None:
        self._child = child

    async def send(self, item: SessionMessage, /) -> None:
        line = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        try:
            await self._child.write(line.encode())
        except ChildError as error:
            await self._child.ended(_EXIT_TIME)
            raise anyio.BrokenResourceError from error


class _Bounded(httpx2.AsyncByteStream):
    """A response body of limited size, and with a limited number of values. One with more fails
    its request, not the connection."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        body = bytearray()
        async for piece in self._stream:
            body += piece
            if len(body) > LONGEST_LINE:
                raise httpx2.StreamError(f"the answer has more than {LONGEST_LINE:,} bytes")
        try:
            check_size(bytes(body))
        except DecodeError as error:
            raise httpx2.StreamError(f"the answer is no answer: {error}") from None
        yield bytes(body)

    async def aclose(self) -> None:
        await self._stream.aclose()


class _BoundedEvents(_Bounded):
    """A stream of events. An error takes the place of one that is too large: the library would end
    the stream, and the connection with it."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        event, dropped = bytearray(), 0
        async for piece in self._stream:
            seam = max(0, len(event) - 3)  # the end of an event may be in two pieces
            event += piece
            if _EVENT_END.search(event, seam):
                *complete, rest = _EVENT_END.split(event)
                for each in complete:
                    yield _bounded_event(bytes(each), dropped)
                    dropped = 0
                event = bytearray(rest)
            elif len(event) > LONGEST_LINE:
                dropped += len(event) - 2 * _KEPT
                del event[_KEPT:-_KEPT]
        if not dropped:
            yield bytes(event)


def _bounded_event(event: bytes, dropped: int) -> bytes:
    """The event, or one with an error in its place; `dropped` bytes of its middle are missing."""
    try:
        if dropped or len(event) > LONGEST_LINE:
            raise DecodeError(_too_long(len(event) + dropped))
        check_size(event)
    except DecodeError as error:
        failed = _failed(event[max(0, event.find(b"{")) :], event, str(error))
        event = b"data: " + failed.model_dump_json().encode() if failed else b":"
    return event + b"\n\n"


class _Refused(_Bounded):
    """A compressed response body, which was not asked for. It fails its request."""

    def __init__(self, stream: httpx2.AsyncByteStream, coding: str) -> None:
        super().__init__(stream)
        self._coding = coding

    async def __aiter__(self) -> AsyncIterator[bytes]:
        raise httpx2.StreamError(f"the answer is compressed ({self._coding[:50]})")
        yield b""


def _message(line: bytes) -> JSONRPCMessage | None:
    try:
        check_size(line)
    except DecodeError as error:
        return _failed(line, line, str(error))
    try:
        return jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        # Some servers print a greeting to stdout, where only messages belong.
        log.debug("not a message of MCP: %r", line[:200])
        return None


def _dropped(line: TruncatedLine) -> JSONRPCMessage | None:
    return _failed(line.head, line.tail, _too_long(line.size))


def _too_long(size: int) -> str:
    return f"the answer has {size:,} bytes, the limit is {LONGEST_LINE:,}; ask for less"


def _failed(head: bytes, tail: bytes, why: str) -> JSONRPCMessage | None:
    """An error in place of an answer that is too large. So only the call that it answers fails.

    The id of the call is in the first or the last bytes: servers write it there.
    """
    log.warning("a message from an MCP server was dropped: %s", why)
    found = _ID_FIRST.search(head) or _ID_LAST.search(tail[-_TAIL:])
    if found is None:
        return None
    error = ErrorData(code=INTERNAL_ERROR, message=why)
    return JSONRPCError(jsonrpc="2.0", id=int(found[1]), error=error)
