"""A response that is written while the answer is made, and knows how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_HEADERS = {
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx would collect the events
}


class AnswerStream(Response):
    """Server-sent events.

    Args:
        events: what is sent.
        farewell: what is sent instead of the rest when the process has `drained`.
        gone: is called when the client has gone before the end.
        close: is called at the end, however it came.
    """

    def __init__(
        self,
        events: AsyncIterator[bytes],
        *,
        farewell: Callable[[], Iterable[bytes]],
        gone: Callable[[], Awaitable[None]],
        close: Callable[[], Awaitable[None]],
        headers: Mapping[str, str],
        drained: asyncio.Event,
    ) -> None:
        super().__init__(headers={**headers, **_HEADERS}, media_type="text/event-stream")
        del self.headers["content-length"]
        self._drained = drained
        self._events = events
        self._farewell = farewell
        self._gone = gone
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the events until they or the client end."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_disconnected(receive))
        drained = asyncio.ensure_future(self._drained.wait())
        try:
            first = asyncio.FIRST_COMPLETED
            await asyncio.wait({sending, leaving, drained}, return_when=first)
            if sending.done():
                await sending
            elif leaving.done():
                await self._gone()
            else:
                await _ended(sending)
                await send(_body(b"".join(self._farewell()), more=False))
        finally:
            await _ended(sending, leaving, drained)
            await self._close()

    async def _send(self, send: Send) -> None:
        async for event in self._events:
            await send(_body(event, more=True))
        await send(_body(b"", more=False))


class LateResponse(Response):
    """A response that takes a while: `made`, or `farewell` if the process has `drained` before."""

    def __init__(
        self,
        made: Callable[[], Awaitable[Response]],
        farewell: Response,
        *,
        drained: asyncio.Event,
    ) -> None:
        super().__init__()
        self._drained = drained
        self._made = made
        self._farewell = farewell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response."""
        making = asyncio.ensure_future(self._made())
        drained = asyncio.ensure_future(self._drained.wait())
        try:
            await asyncio.wait({making, drained}, return_when=asyncio.FIRST_COMPLETED)
            response = making.result() if making.done() else self._farewell
        finally:
            await _ended(making, drained)
        await response(scope, receive, send)


def _body(data: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _ended(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
