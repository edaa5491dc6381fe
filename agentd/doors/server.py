"""Listens: uvicorn's connections on our event loop, without its server, signals and log."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import resource

from starlette.types import ASGIApp
from uvicorn.config import Config

from agentd.doors.connection import Connection
from agentd.doors.connections import Connections
from agentd.doors.limits import Limits
from agentd.errors import StartError, UsageError
from agentd.settings import DEFAULT_HTTP

_BIND = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:\[\]/]*):(?P<port>\d{1,5})")
_LAST_ANSWERS_SECONDS = 1.0
_QUEUED = 1024  # connections that the system keeps until they are accepted
# asyncio accepts so many before anything else happens, such as the end of those that give way.
_AT_ONCE = 16
_OTHER_FILES = 512  # open files that are no connections: NATS, models, tools, the files of agents


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

    def __init__(self, bind: str | None, limits: Limits) -> None:
        self._address = _parse(DEFAULT_HTTP if bind is None else bind)
        self._may_move = bind is None
        self._connections = Connections(limits)
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
        self._config = _config(app, self._connections.limits)
        self._connections.most = _room_for(self._connections.most)
        host, port = self._address
        try:
            self._server = await self._listen(host, port)
        except OSError as error:
            raise StartError(f"cannot listen on {host}:{port}: {_reason(error)}") from None
        for listening in self._server.sockets:
            with listening.dup() as same:
                same.listen(_QUEUED)
        bound_host, bound_port, *_ = self._server.sockets[0].getsockname()
        shown = f"[{bound_host}]" if ":" in bound_host else bound_host
        self.url = f"http://{shown}:{bound_port}"

    async def last_answers(self) -> None:
        """Gives the responses under way a moment to finish; then breaks off the rest."""
        tasks = self._connections.tasks
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_ANSWERS_SECONDS)
        for connection in list(self._connections.connections):
            connection.transport.abort()
        for task in tasks:
            task.cancel()

    async def close(self) -> None:
        """Frees the port and ends all connections."""
        if self._server is None:
            return
        self._server.close()
        await self.last_answers()
        self._server = self.url = None

    async def _listen(self, host: str, port: int) -> asyncio.Server:
        create = asyncio.get_running_loop().create_server
        try:
            return await create(self._connection, host, port, backlog=_AT_ONCE)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not self._may_move:
                raise
            # Two processes start side by side without a flag; `up` prints the port.
            return await create(self._connection, host, 0, backlog=_AT_ONCE)

    def _connection(self) -> Connection:
        return Connection(self._config, self._connections)


def _reason(error: OSError) -> str:
    """Why the system refuses an address: asyncio words it otherwise in every version of Python."""
    # From 3.13 on, an address that no machine like this has is an error without a number.
    number = errno.EADDRNOTAVAIL if error.errno is None else error.errno
    return os.strerror(number).lower() if number > 0 else str(error.strerror)  # no such host


def _config(app: ASGIApp, limits: Limits) -> Config:
    # A caller may claim any address in a header: so no proxy headers.
    config = Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=int(limits.idle_seconds),
    )
    config.load()
    logger = logging.getLogger("uvicorn.error")
    # Below an error it logs only what strangers do wrong, one line for each request.
    logger.setLevel(logging.ERROR)
    logger.addFilter(_is_mistake)
    return config


def _is_mistake(record: logging.LogRecord) -> bool:
    """Whether a record is worth a line: a request that the end of the process cancels is not."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _room_for(connections: int) -> int:
    """How many of these connections the system allows, beside other open files.

    Many systems allow a process 1,024 open files until it asks for more.
    """
    wanted = connections + _OTHER_FILES
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= files < wanted:
        files = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    return connections if files < 0 else min(connections, max(files - _OTHER_FILES, files // 2))


def _parse(bind: str) -> tuple[str, int] | None:
    """The host and the port; None for "off"."""
    if bind == "off":
        return None
    found = _BIND.fullmatch(bind)
    if found is None or int(found["port"]) > 65535:
        raise UsageError(f'{bind!r} is not host:port, like 127.0.0.1:8000, or "off"')
    return found["host"].strip("[]"), int(found["port"])
