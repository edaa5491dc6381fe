"""A response that is written while the answer is made, and knows how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

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
        farewell: what is sent instead of the rest when the process ends.
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
    ) -> None:
        super().__init__(headers={**headers, **_HEADERS}, media_type="text/event-stream")
        del self.headers["content-length"]
        self._events = events
        self._farewell = farewell
        self._gone = gone
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the events until they or the client end."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending
            else:
                await self._gone()
        except asyncio.CancelledError:  # the process ends
            await _ended(sending)
            await send(_body(b"".join(self._farewell()), more=False))
            raise
        finally:
            await _ended(sending)
            await _ended(leaving)
            await self._close()

    async def _send(self, send: Send) -> None:
        async for event in self._events:
            await send(_body(event, more=True))
        await send(_body(b"", more=False))


class LateResponse(Response):
    """A response that takes a while: `made`, or `farewell` when the process ends before."""

    def __init__(self, made: Callable[[], Awaitable[Response]], farewell: Response) -> None:
        super().__init__()
        self._made = made
        self._farewell = farewell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response."""
        try:
            response = await self._made()
        except asyncio.CancelledError:
            await self._farewell(scope, receive, send)
            raise
        await response(scope, receive, send)


def _body(data: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
