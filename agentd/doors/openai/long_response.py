"""A response that is written while the answer is made, and knows how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agentd.doors.ending import Ending

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
        drained: Ending,
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
        try:
            with self._drained.calling(sending.cancel):
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.cancelled():
                await send(_body(b"".join(self._farewell()), more=False))
            elif sending.done():
                await sending
            else:
                await self._gone()
        finally:
            await _ended(sending, leaving)
            await self._close()

    async def _send(self, send: Send) -> None:
        async for event in self._events:
            await send(_body(event, more=True))
        await send(_body(b"", more=False))


class LateResponse(Response):
    """A response that takes a while: `made`, or `farewell` if the process has `drained` before."""

    def __init__(
        self,
        made: Callable[[], Coroutine[Any, Any, Response]],
        farewell: Response,
        *,
        drained: Ending,
    ) -> None:
        super().__init__()
        self._drained = drained
        self._made = made
        self._farewell = farewell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response."""
        response = await self._drained.before(self._made())
        await (response or self._farewell)(scope, receive, send)


def _body(data: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _ended(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
