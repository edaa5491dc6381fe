"""Tasks over HTTP beside the same tasks over NATS: throughput, and the time to the first chunk."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from statistics import median

from nats.aio.client import Client

from bench import first_chunk
from bench.child import Child, cpu
from bench.figures import Figure, Section, percentile
from bench.load import Count, Lane, Load, task
from bench.rig import ENV, Rig, manifest, rig, write_project

IN_FLIGHT = 64
_WARM_UP = 0.7  # seconds
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


async def measure(*, repeats: int, seconds: float, asks: int) -> list[Section]:
    """One section: both ways into the same process, in turn."""
    async with (
        rig("always") as ground,
        whole_agent(ground) as (agentd, port),
        ground.connect() as nats,
    ):
        rounds = [await _throughput(agentd, port, nats, seconds) for _ in range(repeats)]
        await _first_chunks(port, nats, 5)
        chunks = [await _first_chunks(port, nats, asks) for _ in range(repeats)]
    figures = [
        Figure(
            name=f"throughput over HTTP, of that over NATS, {IN_FLIGHT} in flight",
            unit="",
            samples=tuple(http.rate / nats.rate for nats, http, _ in rounds),
            at_least=0.7,
        ),
        Figure(name="over NATS", unit="tasks/s", samples=tuple(n.rate for n, _, _ in rounds)),
        Figure(name="over HTTP", unit="tasks/s", samples=tuple(h.rate for _, h, _ in rounds)),
        Figure(
            name="CPU of agentd that a task over HTTP adds",
            unit="ms",
            samples=tuple(added for _, _, added in rounds),
        ),
        Figure(
            name="first chunk, later over HTTP than over NATS, p50",
            unit="ms",
            samples=tuple(median(http) - median(nats) for nats, http in chunks),
            at_most=3,
        ),
        Figure(
            name="first chunk, later over HTTP than over NATS, p99",
            unit="ms",
            samples=tuple(percentile(h, 99) - percentile(n, 99) for n, h in chunks),
        ),
    ]
    notes = [
        "`POST /api/tasks` with `Prefer: wait=30` on as many connections as tasks are in flight; "
        "for the first chunk, with `Accept: text/event-stream`. Both ways alternate within a round."
    ]
    return [Section(title="Tasks over HTTP", figures=figures, notes=notes)]


@contextlib.asynccontextmanager
async def whole_agent(ground: Rig) -> AsyncGenerator[tuple[Child, int]]:
    """`agentd up` with an agent that streams and one that does not, and its port."""
    model = ground.stub_model()
    stub = json.dumps({"stub": first_chunk.STUB})
    manifests = {
        "whole": manifest("whole", model, stream="false"),
        "streamed": manifest("streamed", model, parameters=stub),
    }
    project = write_project(ground.folder / "project", manifests)
    port = _free_port()
    async with ground.agents(project, port=port) as child:
        yield child, port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _throughput(
    agentd: Child, port: int, nats: Client, seconds: float
) -> tuple[Count, Count, float]:
    """The counts over NATS and over HTTP, and the CPU that HTTP adds to a task, in ms."""
    lane = Lane(f"agents.{ENV}.task.whole.general", f"agents.{ENV}.result.whole.general")
    async with Load(nats, lane) as load:
        await load.start(IN_FLIGHT)
        await asyncio.sleep(_WARM_UP)
        before = cpu(agentd.pid)
        over_nats = await load.count(seconds)
        nats_cpu = (cpu(agentd.pid) - before) / over_nats.done
        await load.stop()
    async with _HttpLoad(port) as http:
        await asyncio.sleep(_WARM_UP)
        before = cpu(agentd.pid)
        over_http = await http.count(seconds)
        http_cpu = (cpu(agentd.pid) - before) / over_http.done
    return over_nats, over_http, (http_cpu - nats_cpu) * 1000


class _HttpLoad:
    """A closed loop on each connection: after each result, the next task is sent."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._done = 0

    async def __aenter__(self) -> _HttpLoad:
        self._loops = [asyncio.create_task(self._loop()) for _ in range(IN_FLIGHT)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for each in self._loops:
            each.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    async def count(self, seconds: float) -> Count:
        """Counts the results of about so many seconds.

        Raises:
            RuntimeError: a request failed.
        """
        started, before = time.perf_counter(), self._done
        ended, _ = await asyncio.wait(
            self._loops, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        for each in ended:
            await each
        return Count(done=self._done - before, seconds=time.perf_counter() - started)

    async def _loop(self) -> None:
        async with ask_whole(self._port) as ask:
            while True:
                await ask()
                self._done += 1


@contextlib.asynccontextmanager
async def ask_whole(port: int) -> AsyncGenerator[Callable[[], Awaitable[None]]]:
    """A function that sends one task over a connection that is kept, and waits for its result."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = _request(port, "whole", "prefer: wait=30")

    async def ask() -> None:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        if not head.startswith(b"HTTP/1.1 200") or b'"success":true' not in body:
            raise RuntimeError(f"a request failed: {head!r} {body[:500]!r}")

    with contextlib.closing(writer):
        yield ask


def _request(port: int, capability: str, header: str) -> bytes:
    """The same task as over NATS."""
    payload = json.loads(task("x"))["payload"]
    body = json.dumps({"target": capability, **payload, "metadata": {"origin": "bench"}}).encode()
    head = f"POST /api/tasks HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{header}\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def _first_chunks(port: int, nats: Client, asks: int) -> tuple[list[float], list[float]]:
    """The times in ms, over NATS and over HTTP, in turn."""
    over_nats: list[float] = []
    over_http: list[float] = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = _request(port, "streamed", "accept: text/event-stream")
    with contextlib.closing(writer):
        for _ in range(asks):
            over_nats.append(await first_chunk.ask_agent(nats))
            started = time.perf_counter()
            writer.write(request)
            over_http.append((await _first_delta(reader) - started) * 1000)
    return over_nats, over_http


async def _first_delta(reader: asyncio.StreamReader) -> float:
    """When the first delta came. The response is read to its end."""
    first = 0.0
    async for line in _lines(reader):
        if line == b"event: delta\n" and not first:
            first = time.perf_counter()
    if not first:
        raise RuntimeError("a task was answered without a delta")
    return first


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a response in chunks."""
    await reader.readuntil(b"\r\n\r\n")
    while size := int(await reader.readuntil(b"\r\n"), 16):
        for line in (await reader.readexactly(size)).splitlines(keepends=True):
            yield line
        await reader.readexactly(2)
    await reader.readexactly(2)
