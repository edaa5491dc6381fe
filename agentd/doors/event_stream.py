"""A response of server-sent events, until they, the client or the process end."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from typing import Any

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from agentd.doors.ending import Ending

_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # nginx would collect the events
}
HEARTBEAT = b": \n\n"
# Milliseconds after which a client connects again, also when the process ends.
RETRY = b"retry: 1000\n\n"


def block(event: str, data: Any, id: str = "") -> bytes:  # noqa: A002 - the name of the field
    """One event; without an `id`, a client that comes back names the one before."""
    place = f"id: {id}\n" if id else ""
    # JSON has no line breaks, which would end the field.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"{place}event: {event}\ndata: {text}\n\n".encode(errors="replace")


class EventStream(Response):
    """Sends blocks of events. When the process begins to drain, the client is asked to connect
    again: another process goes on. What `stack` holds is closed at the end.

    A client that does not read costs 64 KB: then `send` waits, and so does `blocks`.
    """

    def __init__(
        self,
        blocks: AsyncGenerator[bytes],
        stack: AsyncExitStack,
        *,
        draining: Ending,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(headers={**_HEADERS, **headers})
        del self.headers["content-length"]
        self._blocks = blocks
        self._stack = stack
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the blocks."""
        async with self._stack, contextlib.aclosing(self._blocks):
            sending = asyncio.ensure_future(self._send(send))
            leaving = asyncio.ensure_future(_disconnected(receive))
            try:
                with self._draining.calling(sending.cancel):
                    await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _ended(sending, leaving)
            if sending.cancelled():
                await send(_body(RETRY))
                await send(_body(b"", more=False))
            else:
                sending.result()

    async def _send(self, send: Send) -> None:
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        await send(_body(RETRY))
        async for each in self._blocks:
            await send(_body(each))
        await send(_body(b"", more=False))


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _body(data: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}
