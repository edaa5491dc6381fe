"""The chaos proxy disturbs connections as its toxics say, and works normally without them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from agentd.testing.chaos_proxy import ChaosProxy
from tests.waiting import PATIENCE, SLOWNESS, until


class Upstream:
    """A server that echoes. `pieces` are the sizes of the pieces that it has read."""

    def __init__(self) -> None:
        self.pieces: list[int] = []
        self.port = 0

    async def echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                self.pieces.append(len(data))
                writer.write(data)
        except ConnectionError:
            pass  # the proxy broke the connection
        finally:
            writer.close()


@asynccontextmanager
async def proxied() -> AsyncGenerator[tuple[ChaosProxy, Upstream]]:
    upstream = Upstream()
    server = await asyncio.start_server(upstream.echo, "127.0.0.1", 0)
    upstream.port = server.sockets[0].getsockname()[1]
    async with server, ChaosProxy("127.0.0.1", upstream.port, seed=1) as proxy:
        yield proxy, upstream


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def round_trip(self, data: bytes, within: float = PATIENCE) -> float:
        """Sends bytes and waits for their echo. Returns the seconds that this took."""
        started = time.monotonic()
        self._writer.write(data)
        async with asyncio.timeout(within):
            assert await self._reader.readexactly(len(data)) == data
        return time.monotonic() - started

    async def end(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read()

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def client(proxy: ChaosProxy) -> AsyncGenerator[Client]:
    made = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    try:
        yield made
    finally:
        made.close()


async def test_without_toxics_all_bytes_are_passed_on() -> None:
    data = bytes(range(256)) * 4096
    async with proxied() as (proxy, _), client(proxy) as one, client(proxy) as two:
        await asyncio.gather(one.round_trip(data), two.round_trip(data[::-1]))
        assert proxy.accepted == 2


async def test_latency_delays_both_directions_and_keeps_the_order() -> None:
    async with proxied() as (proxy, _), client(proxy) as one:
        await proxy.set(latency=0.1, jitter=0.05)
        assert await one.round_trip(b"here") >= 0.19
        assert await one.round_trip(bytes(range(256)) * 100) >= 0.19
        await proxy.set()
        await one.round_trip(b"well")


async def test_latency_does_not_limit_the_throughput() -> None:
    data = b"x" * 1_000_000
    async with proxied() as (proxy, _), client(proxy) as one:
        await proxy.set(latency=0.1)
        # The sixteen pieces of each direction are delayed together, not one after the other.
        assert await one.round_trip(data) < 3 * SLOWNESS


async def test_slices_arrive_seven_bytes_at_a_time() -> None:
    data = bytes(range(70))
    async with proxied() as (proxy, upstream), client(proxy) as one:
        await proxy.set(slice=7)
        await one.round_trip(data)
        assert sum(upstream.pieces) == 70
        assert len(upstream.pieces) > 3  # the system may join some of the ten


async def test_bandwidth_is_a_limit() -> None:
    async with proxied() as (proxy, _), client(proxy) as one:
        await proxy.set(bandwidth=100_000, slice=1_000)
        # Both directions at once: 0.2 s, of which timers that fire early may take a part.
        assert await one.round_trip(b"x" * 20_000) >= 0.15


async def test_bytes_sent_into_a_blackhole_arrive_when_it_ends() -> None:
    async with proxied() as (proxy, _), client(proxy) as one:
        await one.round_trip(b"before")
        await proxy.set(blackhole=True)
        waiting = asyncio.create_task(one.round_trip(b"inside"))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        async with client(proxy) as late:  # the proxy accepts, but passes nothing on
            with pytest.raises(TimeoutError):
                await late.round_trip(b"late", within=0.2)
        await proxy.set()
        assert await waiting >= 0.19


async def test_a_refusal_does_not_affect_open_connections() -> None:
    async with proxied() as (proxy, _), client(proxy) as one:
        await one.round_trip(b"before")
        await proxy.set(refuse=True)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        await one.round_trip(b"still here")
        await proxy.set()
        async with client(proxy) as two:
            await two.round_trip(b"again")


async def test_a_reset_breaks_every_connection_at_once() -> None:
    async with proxied() as (proxy, _), client(proxy) as one, client(proxy) as two:
        await asyncio.gather(one.round_trip(b"1"), two.round_trip(b"2"))
        assert proxy.reset() == 2
        for each in (one, two):
            with pytest.raises(ConnectionResetError):
                await each.end()
        async with client(proxy) as three:
            await three.round_trip(b"3")


async def test_a_connection_ends_if_there_is_no_server() -> None:
    async with ChaosProxy("127.0.0.1", 1) as proxy, client(proxy) as one:
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await one.round_trip(b"anybody?")


async def test_an_end_on_one_side_is_an_end_on_the_other() -> None:
    async with proxied() as (proxy, _), client(proxy) as one:
        await one.round_trip(b"bye")
        one.close()
        await until(lambda: proxy.links == 0)


async def test_closing_the_proxy_ends_connections_that_are_blocked() -> None:
    before = len(asyncio.all_tasks())
    async with proxied() as (proxy, _), client(proxy) as one:
        await one.round_trip(b"before")
        await proxy.set(blackhole=True)
        stuck = asyncio.create_task(one.round_trip(b"x" * 10_000_000))
        await asyncio.sleep(0.1)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await stuck
    await until(lambda: len(asyncio.all_tasks()) == before)
