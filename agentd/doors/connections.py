"""All connections of a server: how many there may be, and which have waited for too long."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from functools import lru_cache
from typing import Protocol

from uvicorn.server import ServerState

from agentd.doors.limits import Limits

_SWEEP_SECONDS = 1.0


class Swept(Protocol):
    """What a connection can do here."""

    def end_if_overdue(self, now: float) -> None:
        """Ends the connection if its client has taken too long."""
        ...

    def make_room(self) -> None:
        """Ends the connection, which is idle, in favour of another one."""
        ...


class Connections(ServerState):
    """All connections of a server; uvicorn's connections keep `connections` and `tasks` here.

    They are looked at once a second as long as there are any: nothing is done for a server that
    nobody calls, and no timer is set for each request.

    Attributes:
        most: how many there may be.
    """

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self.limits = limits
        self.most = limits.connections
        self._open: set[Swept] = set()
        self._idle: dict[Swept, None] = {}  # those without a request, the longest idle first
        self._sweeping: asyncio.TimerHandle | None = None

    def date(self) -> None:
        """Sets the date of responses. uvicorn's own server does it ten times a second."""
        self.default_headers = _dated(int(time.time()))

    def opened(self, connection: Swept) -> None:
        """A client has connected. If there are too many, the longest idle one has to go."""
        self._open.add(connection)
        self._idle[connection] = None
        if len(self._open) > self.most:
            next(iter(self._idle)).make_room()
        if self._sweeping is None:
            self._sweep()

    def busy(self, connection: Swept) -> None:
        """The connection has a request."""
        self._idle.pop(connection, None)

    def closed(self, connection: Swept) -> None:
        """The connection has ended."""
        self._open.discard(connection)
        self._idle.pop(connection, None)

    def idle(self, connection: Swept) -> None:
        """The connection has no request any more."""
        self._idle[connection] = None

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeping = None
        for connection in list(self._open):
            connection.end_if_overdue(loop.time())
        if self._open:
            self._sweeping = loop.call_later(_SWEEP_SECONDS, self._sweep)


@lru_cache(maxsize=1)
def _dated(second: int) -> list[tuple[bytes, bytes]]:
    return [(b"date", formatdate(second, usegmt=True).encode())]
