"""The HTTP server of a process that has no agents: the real server, guard and health."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from agentd.doors.app import App, Door
from agentd.doors.backend import Backend
from agentd.doors.ending import Ending
from agentd.doors.key_file import KeyFile
from agentd.doors.keys import Keys
from agentd.doors.limits import Limits
from agentd.doors.server import HttpServer
from agentd.metrics import Metrics
from agentd.nats.bus import Bus
from agentd.protocol.subjects import Subjects
from agentd.settings import Settings
from tests.memory_bus import MemoryBus

NO_KEYS = Path(os.devnull, "keys.json")


def waiting_for_nothing() -> Mapping[str, Any]:
    return {"waiting_for": []}


@asynccontextmanager
async def serving(  # noqa: PLR0913
    bind: str | None = "127.0.0.1:0",
    *,
    doors: Sequence[Door] | None = None,
    keys: Path = NO_KEYS,
    metrics: Metrics | None = None,
    status: Callable[[], Mapping[str, Any]] = waiting_for_nothing,
    limits: Limits = Limits(),
    draining: Ending | None = None,
    backend: Backend | None = None,
) -> AsyncGenerator[HttpServer]:
    """Serves health, and `doors` if there are any; without them the doors have not opened yet.

    Without a `backend`, the doors have no agents and no NATS.
    """
    server = HttpServer(bind, limits)
    metrics = metrics or Metrics()
    app = App(
        bound=server.host,
        keys=Keys(KeyFile(keys)),
        metrics=metrics,
        limits=limits,
        status=status,
        doors=lambda: (doors or (), {}),
    )
    await server.start(app)
    if doors is not None:
        app.open(
            backend
            or Backend(
                bus=cast("Bus", MemoryBus()),
                subjects=Subjects("test"),
                settings=Settings(),
                metrics=metrics,
                specs=dict,
                draining=draining or Ending(),
            )
        )
    try:
        yield server
    finally:
        await server.close()


@dataclass(frozen=True)
class Answer:
    """One response, as it stood on the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """A client that sends exactly these bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def to(cls, server: HttpServer) -> AsyncGenerator[Wire]:
        assert server.url is not None
        host, _, port = server.url.removeprefix("http://").rpartition(":")
        host = host.replace("0.0.0.0", "127.0.0.1").strip("[]")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            yield cls(reader, writer)
        finally:
            writer.close()

    async def ask(
        self, line: str, *headers: str, host: str | None = "localhost", body: bytes = b""
    ) -> Answer:
        """Sends a request; returns its response."""
        named = [] if host is None else [f"Host: {host}"]
        sized = [f"Content-Length: {len(body)}"] if body else []
        head = "\r\n".join([f"{line} HTTP/1.1", *named, *sized, *headers, "", ""])
        self.writer.write(head.encode("latin-1") + body)
        return await self.answer()

    async def answer(self) -> Answer:
        """The next response."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(first.split()[1]), headers, body)

    async def is_closed(self) -> bool:
        """Returns True once the server has closed the connection; False if it sends more."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True
