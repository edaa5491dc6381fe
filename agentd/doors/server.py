"""Listens: uvicorn's connections on our event loop, without its server, signals and log."""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import time
from email.utils import formatdate
from functools import lru_cache

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from agentd.errors import StartError, UsageError
from agentd.settings import DEFAULT_HTTP

_BIND = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:\[\]/]*):(?P<port>\d{1,5})")
_LAST_ANSWERS_SECONDS = 1.0
_BACKLOG = 1024


class HttpServer:
    """Serves an application on one address.

    `bind` is `host:port` (port 0: any free port) or "off"; None is `DEFAULT_HTTP`, or another port
    if that one is taken.

    Attributes:
        host: the host of `bind`; empty when off.
        url: the address, `http://127.0.0.1:8000`; None before `start` and when off.

    Raises:
        UsageError: `bind` is neither `host:port` nor "off".
    """

    def __init__(self, bind: str | None) -> None:
        self._address = _parse(DEFAULT_HTTP if bind is None else bind)
        self._may_move = bind is None
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self.host = self._address[0] if self._address else ""
        self.url: str | None = None

    async def start(self, app: ASGIApp) -> None:
        """Starts to listen.

        Raises:
            StartError: the system refuses the address.
        """
        if self._address is None:
            return
        self._config = _config(app)
        host, port = self._address
        try:
            self._server = await self._listen(host, port)
        except OSError as error:
            # asyncio puts the address in front of the reason: it is in our text already.
            reason = str(error.strerror).rpartition(": ")[2]
            raise StartError(f"cannot listen on {host}:{port}: {reason}") from None
        bound_host, bound_port, *_ = self._server.sockets[0].getsockname()
        shown = f"[{bound_host}]" if ":" in bound_host else bound_host
        self.url = f"http://{shown}:{bound_port}"

    async def last_answers(self) -> None:
        """Gives the responses under way a moment to finish, and ends the rest."""
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=_LAST_ANSWERS_SECONDS)
        for task in self._state.tasks:
            task.cancel()

    async def close(self) -> None:
        """Frees the port and ends all connections."""
        if self._server is None:
            return
        self._server.close()
        await self.last_answers()
        for connection in list(self._state.connections):
            connection.transport.abort()
        self._server = self.url = None

    async def _listen(self, host: str, port: int) -> asyncio.Server:
        create = asyncio.get_running_loop().create_server
        try:
            return await create(self._connection, host, port, backlog=_BACKLOG)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not self._may_move:
                raise
            # Two processes start side by side without a flag; `up` prints the port.
            return await create(self._connection, host, 0, backlog=_BACKLOG)

    def _connection(self) -> H11Protocol:
        return _Connection(self._config, self._state, {})


def _config(app: ASGIApp) -> Config:
    # A caller may claim any address in a header: so no proxy headers.
    config = Config(
        app,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        http=H11Protocol,
    )
    config.load()
    # Below an error it logs only what strangers do wrong, one line for each request.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    return config


class _Connection(H11Protocol):
    """One connection."""

    def data_received(self, data: bytes) -> None:
        # uvicorn's own server does this ten times a second, even when nobody asks anything.
        self.server_state.default_headers = _default_headers(int(time.time()))
        super().data_received(data)


@lru_cache(maxsize=1)
def _default_headers(second: int) -> list[tuple[bytes, bytes]]:
    return [(b"date", formatdate(second, usegmt=True).encode())]


def _parse(bind: str) -> tuple[str, int] | None:
    """The host and the port; None for "off"."""
    if bind == "off":
        return None
    found = _BIND.fullmatch(bind)
    if found is None or int(found["port"]) > 65535:
        raise UsageError(f'{bind!r} is not host:port, like 127.0.0.1:8000, or "off"')
    return found["host"].strip("[]"), int(found["port"])
