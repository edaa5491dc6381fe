"""Responses that take a while: how they end, and that everything is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.responses import PlainTextResponse, Response

from agentd.doors.ending import Ending
from agentd.doors.openai.long_response import AnswerStream, LateResponse


class Client:
    """A client at the other end of ASGI."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.drained = Ending()
        self.sent: list[dict[str, Any]] = []
        self.calls: list[str] = []

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(each.get("body", b"") for each in self.sent)

    async def get(self, response: Response) -> None:
        await response({"type": "http"}, self.receive, self.send)

    def stream(self, events: AsyncIterator[bytes]) -> AnswerStream:
        async def gone() -> None:
            self.calls.append("gone")

        async def close() -> None:
            self.calls.append("closed")

        return AnswerStream(
            events,
            farewell=lambda: [b"bye"],
            gone=gone,
            close=close,
            headers={"X-Task-Id": "t1"},
            drained=self.drained,
        )


async def two(endless: bool = False) -> AsyncIterator[bytes]:
    yield b"one "
    yield b"two "
    if endless:
        await asyncio.Event().wait()


async def test_a_stream_ends_with_its_events() -> None:
    client = Client()
    await client.get(client.stream(two()))
    assert (client.body, client.sent[-1]["more_body"]) == (b"one two ", False)
    headers = dict(client.sent[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"x-task-id"] == b"t1"
    assert b"content-length" not in headers
    assert client.calls == ["closed"]


async def test_a_client_that_goes_is_noticed() -> None:
    client = Client()
    getting = asyncio.create_task(client.get(client.stream(two(endless=True))))
    await asyncio.sleep(0)
    client.gone.set()
    await getting
    assert client.calls == ["gone", "closed"]


async def test_the_end_of_the_process_is_said() -> None:
    client = Client()
    getting = asyncio.create_task(client.get(client.stream(two(endless=True))))
    for _ in range(5):
        await asyncio.sleep(0)
    client.drained.set()
    await getting
    assert client.body == b"one two bye"
    assert client.calls == ["closed"]


async def test_a_bug_in_the_events_is_not_hidden() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"one "
        raise KeyError("bug")

    client = Client()
    with pytest.raises(KeyError):
        await client.get(client.stream(broken()))
    assert client.calls == ["closed"]


async def test_a_late_response_says_that_the_process_ends() -> None:
    async def never() -> Response:
        await asyncio.Event().wait()
        return PlainTextResponse("made")

    client, farewell = Client(), PlainTextResponse("bye", 503)
    response = LateResponse(never, farewell, drained=client.drained)
    getting = asyncio.create_task(client.get(response))
    await asyncio.sleep(0)
    client.drained.set()
    await getting
    assert (client.sent[0]["status"], client.body) == (503, b"bye")
