"""A TCP proxy that delays, slices, blocks and breaks connections, as bad networks do.

The disturbances can change while connections are open:

async with ChaosProxy("127.0.0.1", 4222) as proxy:
    await proxy.set(latency=0.1, jitter=0.05)
    ...
    proxy.reset()  # every connection breaks
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Any

_PIECE = 65536
_PIECES = 64  # pieces on their way in one direction; then the proxy stops reading
# With SO_LINGER at zero seconds, closing sends a reset instead of an orderly end.
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, kw_only=True)
class Toxics:
    """The disturbances of a network. They apply to both directions.

    Attributes:
        latency: seconds by which every byte is delayed.
        jitter: up to so many seconds more, at random. The order of the bytes stays.
        slice: the most bytes that are passed on in one write; 0 means no limit.
        bandwidth: bytes per second of one connection in one direction; 0 means no limit.
        blackhole: no byte passes, and neither side gets an error. The bytes arrive once the
            blackhole ends.
        refuse: new connections are refused.
    """

    latency: float = 0.0
    jitter: float = 0.0
    slice: int = 0
    bandwidth: float = 0.0
    blackhole: bool = False
    refuse: bool = False


class ChaosProxy:
    """Listens on a free port while its `async with` block lasts.

    Attributes:
        toxics: the disturbances that apply now.
        port: the port on 127.0.0.1.
        accepted: how many connections were accepted so far.
    """

    def __init__(self, host: str, port: int, *, seed: int = 0) -> None:
        self.toxics = Toxics()
        self.port = 0
        self.accepted = 0
        self._upstream = host, port
        self._random = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._clear = asyncio.Event()
        self._clear.set()

    async def __aenter__(self) -> ChaosProxy:
        await self._listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._stop_listening()
        links = list(self._links)
        for link in links:
            link.task.cancel()
        await asyncio.gather(*(link.task for link in links), return_exceptions=True)

    async def set(self, **toxics: Any) -> None:
        """Replaces all disturbances by these (see `Toxics`). Without any, the network works."""
        self.toxics = Toxics(**toxics)
        if self.toxics.blackhole:
            self._clear.clear()
        else:
            self._clear.set()
        if self.toxics.refuse:
            self._stop_listening()
        elif self._server is None:
            await self._listen()

    @property
    def links(self) -> int:
        """How many connections are open now."""
        return len(self._links)

    def reset(self) -> int:
        """Breaks every connection. Returns how many were open."""
        for link in self._links:
            link.reset()
        return len(self._links)

    def due(self) -> float:
        """When to pass on a byte that arrives now, in the time of the event loop."""
        late = self.toxics.latency + self._random.uniform(0, self.toxics.jitter)
        return asyncio.get_running_loop().time() + late

    async def pass_on(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        """Writes the bytes at the pace, and in the pieces, of the present disturbances."""
        while data:
            await self._clear.wait()
            toxics = self.toxics  # again for each piece: they may change between two pieces
            size = toxics.slice or len(data)
            piece, data = data[:size], data[size:]
            writer.write(piece)
            await writer.drain()
            # Without a pause, the system would put several pieces into one segment.
            await asyncio.sleep(len(piece) / toxics.bandwidth if toxics.bandwidth else 0)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def _stop_listening(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        link = _Link(self, writer)
        self._links.add(link)
        try:
            await self._clear.wait()
            await link.join(reader, *self._upstream)
        except (OSError, asyncio.CancelledError):
            link.reset()  # one side has ended, and the other side must notice
        finally:
            self._links.discard(link)
            link.close()


class _Link:
    """One connection through the proxy, with its two sockets."""

    def __init__(self, proxy: ChaosProxy, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self._proxy = proxy
        self._writers = [client]

    async def join(self, from_client: asyncio.StreamReader, host: str, port: int) -> None:
        """Passes bytes on in both directions until one side closes its connection."""
        from_server, to_server = await asyncio.open_connection(host, port)
        self._writers.append(to_server)
        [to_client, _] = self._writers
        pumps = [
            asyncio.ensure_future(self._pump(from_client, to_server)),
            asyncio.ensure_future(self._pump(from_server, to_client)),
        ]
        try:
            done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in done:
                pump.result()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    def reset(self) -> None:
        """Breaks the connections of both sides."""
        for writer in self._writers:
            with contextlib.suppress(OSError):  # it is closed already
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, _RESET
                )
            writer.transport.abort()

    def close(self) -> None:
        """Closes the connections of both sides in order."""
        for writer in self._writers:
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes on what `reader` receives. Returns when all of it is written."""
        # Reading and writing are two tasks: one byte's delay must not delay the bytes after it.
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_PIECES)
        receiving = asyncio.ensure_future(self._receive(reader, under_way))
        loop = asyncio.get_running_loop()
        try:
            while True:
                due, data = await under_way.get()
                if not data:
                    return
                await asyncio.sleep(max(0.0, due - loop.time()))
                await self._proxy.pass_on(data, writer)
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)

    async def _receive(
        self, reader: asyncio.StreamReader, under_way: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        with contextlib.suppress(OSError):  # it broke; the bytes before that are still passed on
            while data := await reader.read(_PIECE):
                await under_way.put((self._proxy.due(), data))
        await under_way.put((0.0, b""))  # the end
