"""Clients that send too much, too slowly, or never read: bounded, and no burden to the others."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from serving import Wire, serving
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agentd.doors.backend import Backend
from agentd.doors.ending import Ending
from agentd.doors.limits import Limits
from agentd.doors.server import HttpServer
from agentd.metrics import Metrics
from tests.waiting import until


class Door:
    """A door that echoes the size of a body, waits, and streams without an end."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.streams = self.waiting = 0

    def __call__(self, _: Backend) -> Sequence[Route]:
        return [
            Route("/echo", self.echo, methods=["POST", "GET"]),
            Route("/wait", self.wait, methods=["POST", "GET"]),
            Route("/stream", self.stream),
        ]

    async def echo(self, request: Request) -> Response:
        return JSONResponse({"size": len(await request.body())})

    async def wait(self, request: Request) -> Response:
        size = len(await request.body())
        self.waiting += 1
        await self.release.wait()
        return JSONResponse({"size": size})

    async def stream(self, _: Request) -> Response:
        return StreamingResponse(self._pieces(), media_type="text/event-stream")

    async def _pieces(self) -> AsyncIterator[bytes]:
        self.streams += 1
        try:
            while True:
                yield b"data: " + b"x" * 10_000 + b"\n\n"
                await asyncio.sleep(0)
        finally:
            self.streams -= 1


@pytest.fixture
def door() -> Door:
    return Door()


async def test_a_body_that_is_too_large_is_refused_before_it_is_sent(door: Door) -> None:
    async with serving(doors=[door], limits=Limits(body_bytes=1000)) as server:
        async with Wire.to(server) as wire:
            answer = await wire.ask("POST /echo", "Content-Length: 1001")
            assert (answer.status, answer.json["code"]) == (413, "too_large")
        async with Wire.to(server) as wire:
            assert (await wire.ask("POST /echo", body=b"x" * 1000)).json == {"size": 1000}


async def test_a_body_in_chunks_is_refused_where_it_becomes_too_large(door: Door) -> None:
    limits = Limits(body_bytes=1000)
    async with serving(doors=[door], limits=limits) as server, Wire.to(server) as wire:
        wire.writer.write(b"3e8\r\n".join([CHUNKED, b"x" * 1000 + b"\r\n", b"x"]))
        answer = await wire.answer()
        assert (answer.status, answer.json["code"]) == (413, "too_large")


CHUNKED = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_client_that_goes_on_sending_gets_its_answer_and_is_cut_off(door: Door) -> None:
    limits = Limits(body_bytes=1000, linger_seconds=0.5)
    async with serving(doors=[door], limits=limits) as server, Wire.to(server) as wire:
        wire.writer.write(CHUNKED)
        sending = asyncio.create_task(keep_sending(wire, b"2710\r\n" + b"x" * 10_000 + b"\r\n"))
        assert (await wire.answer()).status == 413
        assert await wire.is_closed()
        await sending


async def keep_sending(wire: Wire, piece: bytes, pause: float = 0.01) -> None:
    """Sends pieces until the server ends the connection."""
    with contextlib.suppress(ConnectionError):
        while not wire.writer.is_closing():
            wire.writer.write(piece)
            await wire.writer.drain()
            await asyncio.sleep(pause)


async def test_slow_senders_are_ended_and_delay_nobody(door: Door) -> None:
    """100 that send a header byte by byte, and 100 that send a body byte by byte."""
    limits = Limits(head_seconds=1.0, body_seconds=1.0)
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(doors=[door], limits=limits))
        slow = [await stack.enter_async_context(Wire.to(server)) for _ in range(200)]
        for number, wire in enumerate(slow):
            head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n"
            wire.writer.write(head + (b"\r\n" if number % 2 else b"X"))
        dripping = [asyncio.create_task(keep_sending(wire, b"x", 0.3)) for wire in slow]
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with Wire.to(server) as other:
            while loop.time() - began < 1.0:
                assert (await other.ask("POST /echo", body=b"hello")).json == {"size": 5}
                await asyncio.sleep(0.02)
        for wire in slow:
            assert (await wire.answer()).status == 408
        for wire in slow:
            with contextlib.suppress(ConnectionError):
                await wire.reader.read()  # until it is closed
        await asyncio.gather(*dripping)


async def test_a_client_that_never_reads_is_ended(door: Door) -> None:
    limits = Limits(read_seconds=0.5)
    async with serving(doors=[door], limits=limits) as server, Wire.to(server) as wire:
        wire.writer.write(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: door.streams == 1)
        await until(lambda: door.streams == 0)
        async with Wire.to(server) as other:
            assert (await other.ask("GET /echo")).status == 200


async def test_a_client_that_reads_slowly_is_not_ended(door: Door) -> None:
    limits = Limits(read_seconds=1.0)
    async with serving(doors=[door], limits=limits) as server, Wire.to(server) as wire:
        wire.writer.write(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for _ in range(15):
            assert len(await wire.reader.readexactly(1_000_000)) == 1_000_000
            await asyncio.sleep(0.2)
        assert door.streams == 1


async def test_idle_connections_give_way_to_new_ones(door: Door) -> None:
    async with contextlib.AsyncExitStack() as stack:
        limits = Limits(connections=20)
        server = await stack.enter_async_context(serving(doors=[door], limits=limits))
        busy = await stack.enter_async_context(Wire.to(server))
        waiting = asyncio.create_task(busy.ask("GET /wait"))
        idle = [await stack.enter_async_context(Wire.to(server)) for _ in range(100)]
        async with Wire.to(server) as wire:
            assert (await wire.ask("GET /echo")).status == 200
        door.release.set()
        assert (await waiting).status == 200  # one with a request does not give way
        closed = await asyncio.gather(*(wire.is_closed() for wire in idle[:80]))
        assert all(closed)


async def test_more_connections_than_open_files_are_no_trouble() -> None:
    """In a process of its own, because no process gets a limit of open files back."""
    tests = Path(__file__).parents[1]
    paths = os.pathsep.join(map(str, (tests.parent, tests / "integration")))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        tests / "integration" / "crowded.py",
        env=os.environ | {"PYTHONPATH": paths},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert (process.returncode, out.decode()) == (0, "served\n")


async def test_idle_connections_end_by_themselves(door: Door) -> None:
    async with serving(doors=[door], limits=Limits(idle_seconds=1)) as server:
        silent = Wire.to(server)
        async with Wire.to(server) as kept, silent as other:
            assert (await kept.ask("GET /echo")).status == 200
            assert await kept.is_closed()
            assert await other.is_closed()


async def test_a_caller_has_a_bounded_number_of_requests(door: Door) -> None:
    metrics = Metrics()
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            serving(doors=[door], limits=Limits(requests=3), metrics=metrics)
        )
        wires = [await stack.enter_async_context(Wire.to(server)) for _ in range(4)]
        waiting = [asyncio.create_task(wire.ask("GET /wait")) for wire in wires[:3]]
        await until(lambda: in_flight(metrics) == 3)
        answer = await wires[3].ask("GET /wait")
        assert (answer.status, answer.json["code"]) == (429, "overloaded")
        assert answer.headers["retry-after"]
        assert (await wires[3].ask("GET /healthz")).status == 200
        door.release.set()
        assert [(await each).status for each in waiting] == [200] * 3
        assert (await wires[3].ask("GET /wait")).status == 200
        assert in_flight(metrics) == 0


def in_flight(metrics: Metrics) -> float:
    lines = metrics.expose()[0].decode().splitlines()
    [line] = [each for each in lines if each.startswith("agentd_http_requests_in_flight ")]
    return float(line.split()[1])


async def test_all_bodies_together_are_bounded(door: Door) -> None:
    limits = Limits(all_bodies_bytes=2500)
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(doors=[door], limits=limits))
        wires = [await stack.enter_async_context(Wire.to(server)) for _ in range(3)]
        asked = [asyncio.create_task(w.ask("POST /wait", body=b"x" * 1000)) for w in wires]
        done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        assert [each.result().status for each in done] == [503]
        door.release.set()
        assert [(await each).status for each in waiting] == [200, 200]
        assert (await wires[0].ask("POST /wait", body=b"x" * 2000)).json == {"size": 2000}


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 100_000,
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    ],
)
async def test_headers_are_bounded(door: Door, head: bytes) -> None:
    async with serving(doors=[door]) as server, Wire.to(server) as wire:
        wire.writer.write(head)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            # TCP may discard the answer, because the client has sent more than was read.
            assert (await wire.answer()).status == 431
        assert await wire.is_closed()


async def test_requests_that_do_not_wait_for_a_response_are_answered_in_order(door: Door) -> None:
    async with serving(doors=[door]) as server, Wire.to(server) as wire:
        one = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
        wire.writer.write(b"".join(one % (n, b"x" * n) for n in range(1, 9)))
        assert [(await wire.answer()).json["size"] for _ in range(8)] == list(range(1, 9))
        wire.writer.write(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)
        assert (await wire.answer()).status == 400
        assert await wire.is_closed()


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
async def test_a_client_that_asks_for_another_protocol_is_served_in_this_one(
    door: Door, protocol: str
) -> None:
    upgrade = ("Connection: Upgrade, HTTP2-Settings", f"Upgrade: {protocol}")
    async with serving(doors=[door]) as server, Wire.to(server) as wire:
        for size in (0, 5, 100_000):
            answer = await wire.ask("POST /echo", *upgrade, body=b"x" * size)
            assert (answer.status, answer.json) == (200, {"size": size})
        head = CHUNKED.replace(b"\r\n\r\n", b"\r\n" + "\r\n".join(upgrade).encode() + b"\r\n\r\n")
        wire.writer.write(head)
        wire.writer.write(b"3\r\nabc\r\n0\r\n\r\n")
        assert (await wire.answer()).json == {"size": 3}
        assert (await wire.ask("GET /echo")).status == 200


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(door: Door) -> None:
    limits = Limits(body_bytes=10)
    async with serving(doors=[door], limits=limits) as server, Wire.to(server) as wire:
        head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        wire.writer.write(head + b"Content-Length: 5\r\n\r\n")
        assert (await wire.answer()).status == 100
        wire.writer.write(b"hello")
        assert (await wire.answer()).json == {"size": 5}
        wire.writer.write(head + b"Content-Length: 50\r\n\r\n")
        assert (await wire.answer()).status == 413


async def test_a_client_that_goes_away_leaves_no_line_in_the_log(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(doors=[door]) as server:
        async with Wire.to(server) as wire:
            wire.writer.write(CHUNKED + b"3e8\r\nx")
            await until(lambda: tasks_of(server) == 1)
        async with Wire.to(server) as wire:
            wire.writer.write(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await wire.reader.read(1000)
        await until(lambda: tasks_of(server) == 0)
    assert caplog.records == []


def tasks_of(server: HttpServer) -> int:
    return len(server._connections.tasks)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00", b"GET /\r\n\r\n", b"\r\n" * 100_000])
async def test_what_is_no_http_leaves_no_line_in_the_log(
    door: Door, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serving(doors=[door]) as server, Wire.to(server) as wire:
        wire.writer.write(garbage)
        wire.writer.write(b"x\r\n\r\n")
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            assert (await wire.answer()).status in (400, 431)
        assert await wire.is_closed()
    assert caplog.records == []


async def test_a_drain_refuses_what_begins_and_finishes_what_runs(door: Door) -> None:
    draining = Ending()
    async with serving(doors=[door], draining=draining) as server:
        async with Wire.to(server) as first, Wire.to(server) as second, Wire.to(server) as third:
            running = asyncio.create_task(first.ask("POST /wait", body=b"hello"))
            await until(lambda: door.waiting == 1)
            draining.set()
            answer = await second.ask("POST /echo", body=b"hello")
            assert (answer.status, answer.json["code"]) == (503, "draining")
            assert answer.headers["retry-after"]
            assert await second.is_closed()
            assert (await third.ask("GET /echo")).headers["connection"] == "close"
            door.release.set()
            assert (await running).json == {"size": 5}
        async with Wire.to(server) as wire:
            assert (await wire.ask("GET /readyz")).status == 200


async def test_the_end_waits_for_nobody_for_long_and_logs_nothing(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as clients:
        async with serving(doors=[door]) as server:
            wires = [await clients.enter_async_context(Wire.to(server)) for _ in range(3)]
            wires[0].writer.write(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            wires[1].writer.write(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await until(lambda: tasks_of(server) == 2)
            began = loop.time()
        assert loop.time() - began < 10
        assert all([await wire.is_closed() for wire in wires[1:]])
    await until(lambda: tasks_of(server) == 0)
    assert caplog.records == []


async def test_requests_are_counted_by_route(door: Door) -> None:
    metrics = Metrics()
    async with serving(doors=[door], metrics=metrics) as server, Wire.to(server) as wire:
        for line in ("GET /echo", "GET /echo", "GET /a", "GET /b", "DELETE /echo", "GET /../x"):
            await wire_ask(server, line)
        page = (await wire.ask("GET /metrics")).body.decode()
    series = 'agentd_http_requests_total{route="%s",status="%s"} %.1f'
    for route, status, count in (
        ("/echo", 200, 2),
        ("none", 404, 2),
        ("/echo", 405, 1),
        ("none", 400, 1),
    ):
        assert series % (route, status, count) in page


async def wire_ask(server: HttpServer, line: str) -> Any:
    async with Wire.to(server) as wire:
        return await wire.ask(line)
