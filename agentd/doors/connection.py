"""One connection: uvicorn's protocol, for clients that may be slow, hostile or gone."""

from __future__ import annotations

import asyncio
from typing import Any, Literal, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from agentd.doors.connections import Connections
from agentd.doors.problem import problem
from agentd.doors.refusal import Refusal

# What we wait for. `read`: that the client reads on. `linger`: the rest of a body whose request is
# answered already. After a close that comes too early, TCP may discard the response.
Wait = Literal["idle", "head", "body", "read", "linger"]

_FRAMING = (b"content-length", b"transfer-encoding")


class Connection(HttpToolsProtocol):
    """One connection. It ends when its client takes longer than the limits allow."""

    def __init__(self, config: Config, connections: Connections) -> None:
        super().__init__(config, connections, {})
        self._all = connections
        self._limits = connections.limits
        self._reading: Literal["", "head", "body"] = ""
        # Of the headers that are being read: what came, and what the parser made of it.
        self._head_bytes = self._header_bytes = 0
        self._steps = 0  # grows whenever the client gets on
        self._wait: tuple[Wait, int] | None = None
        self._since = 0.0
        self._is_resumed = False

    # --- of asyncio -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast("asyncio.Transport", _Joining(transport, self.loop)))
        self._all.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._all.closed(self)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._all.date()
        if self._reading != "body":
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse_bytes()
        else:
            if self._reading == "head" and self._head_bytes > self._limits.head_bytes:
                self._refuse_bytes()

    def resume_writing(self) -> None:
        self._steps += 1
        super().resume_writing()

    # --- of the parser --------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._is_resumed:
            return
        if len(self.pipeline) >= self._limits.pipelined:
            raise ValueError("too many requests without waiting for a response")
        self._steps += 1
        self._reading = "head"
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._is_resumed:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        # What follows a body in chunks is no header: a proxy has not seen it as one.
        if self._is_resumed or self._reading == "body":
            return
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > self._limits.head_bytes:
            raise ValueError("the headers are too large")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_resumed:
            self._is_resumed = False
            return
        if not self.url.startswith(b"/"):
            raise ValueError("the target is not a path")
        if self.parser.get_http_version() not in ("1.0", "1.1"):
            raise ValueError("another version of HTTP")
        self._reading = "body"
        self._head_bytes = self._header_bytes = 0
        self._all.busy(self)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # its body follows: see `_stay`
        self._reading = ""
        super().on_message_complete()

    def _stay(self, rest: bytes) -> None:
        """Goes on in HTTP/1.1, as a server may. The parser takes what follows the headers of such a
        request for another protocol; some clients ask for one in every request, with a body."""
        framing = [
            name + b": " + value + b"\r\n" for name, value in self.headers if name in _FRAMING
        ]
        self.parser = httptools.HttpRequestParser(self)
        self._is_resumed = True
        self.data_received(b"POST / HTTP/1.1\r\n" + b"".join(framing) + b"\r\n" + rest)

    # --- of uvicorn -----------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        self._steps += 1
        super().on_response_complete()
        if self.cycle.response_complete:
            self._all.idle(self)

    @property
    def _cycle(self) -> RequestResponseCycle | None:
        """The last request and its response; uvicorn declares that there always is one."""
        return self.cycle

    # --- ends -----------------------------------------------------------------------------------

    def end_if_overdue(self, now: float) -> None:
        """Ends the connection if its client has taken too long."""
        wait = self._waits_for()
        if wait != self._wait:
            self._wait, self._since = wait, now
        elif wait and now - self._since > getattr(self._limits, f"{wait[0]}_seconds"):
            if wait[0] in ("head", "body"):
                self._refuse(Refusal(408, "slow", "the request took too long to arrive"))
            else:
                self.transport.abort()

    def make_room(self) -> None:
        """Ends the connection, which is idle, in favour of another one."""
        self._all.busy(self)
        self.transport.abort()

    def _waits_for(self) -> tuple[Wait, int] | None:
        """What the client owes us, and a number that changes when it gets on; None while we owe."""
        is_answered = self._cycle is None or self._cycle.response_complete
        if self.transport.is_closing() or self.flow.write_paused:
            return "read", self._steps
        if self._reading == "body" and not self.flow.read_paused:
            return "linger" if is_answered else "body", self._steps
        if self._reading == "head":
            return "head", self._steps
        return ("idle", self._steps) if is_answered else None

    def _refuse_bytes(self) -> None:
        if max(self._head_bytes, self._header_bytes) > self._limits.head_bytes:
            text = f"the headers have more than {self._limits.head_bytes:,} bytes"
            self._refuse(Refusal(431, "too_large", text))
        else:
            self._refuse(Refusal(400, "malformed", "this is not a request of HTTP/1.1"))

    def _refuse(self, refusal: Refusal) -> None:
        """Answers without the application, and closes; a response that has begun is broken off."""
        cycle = self._cycle
        if cycle is not None and cycle.response_started != cycle.response_complete:
            self.transport.abort()
            return
        response = problem(refusal)
        headers = [*self.server_state.default_headers, *response.raw_headers]
        lines = [name + b": " + value + b"\r\n" for name, value in headers]
        head = STATUS_LINE[refusal.status] + b"".join(lines) + b"connection: close\r\n\r\n"
        self.transport.write(head + bytes(response.body))
        self.transport.close()


class _Joining:
    """A transport that sends the head of a response together with what follows at once.

    uvicorn writes them one after the other: two calls of the system, and two packets.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Sends the bytes, with the head before them; a head waits for the rest of this turn."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._loop.call_soon(self._send_head)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Closes the connection once everything is sent."""
        self._send_head()
        self._transport.close()

    def _send_head(self) -> None:
        if self._head:
            data, self._head = self._head, b""
            self._transport.write(data)
