"""The HTTP server for a supervisor: liveness, readiness and metrics."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from agentd.errors import StartError, UsageError
from agentd.metrics import Metrics
from agentd.settings import DEFAULT_HTTP

_BIND = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:\[\]/]*):(?P<port>\d{1,5})")
_HOST = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:\[\]/]+)(:\d{1,5})?")
_LAST_ANSWERS_SECONDS = 1.0


class HealthServer:
    """`/healthz`, `/readyz` and `/metrics`.

    On a loopback address it answers only requests to this machine by address or as `localhost`: a
    web page can have its own name resolve to 127.0.0.1, and read the answers in a browser here.

    `bind` is `host:port` (port 0: any free port) or "off". `status` returns what the process waits
    for, `{"waiting_for": ["NATS"], ...}`; with an empty list it is ready. `/readyz` shows the other
    fields unchanged.

    Attributes:
        url: the address, `http://127.0.0.1:8000`; None before `start` and when off.
        moved: the wanted port was in use, and `url` has another.

    Raises:
        UsageError: `bind` is neither `host:port` nor "off".
    """

    def __init__(
        self, bind: str | None, *, metrics: Metrics, status: Callable[[], Mapping[str, Any]]
    ) -> None:
        self._address = _parse(DEFAULT_HTTP if bind is None else bind)
        self._may_move = bind is None
        self._metrics = metrics
        self._status = status
        self._runner: web.AppRunner | None = None
        self.url: str | None = None

    async def start(self) -> None:
        """Starts to listen.

        Raises:
            StartError: the system refuses the address.
        """
        if self._address is None:
            return
        app = web.Application(middlewares=[_only_to(self._address[0])])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._expose)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_LAST_ANSWERS_SECONDS)
        await self._runner.setup()
        try:
            self.url = await self._listen(self._runner, *self._address)
        except OSError as error:
            await self.close()
            host, port = self._address
            # asyncio puts the address in front of the reason: it is in our text already.
            reason = str(error.strerror).rpartition(": ")[2]
            raise StartError(f"cannot listen on {host}:{port}: {reason}") from None

    async def close(self) -> None:
        """Finishes the responses under way and frees the port."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = self.url = None

    async def _listen(self, runner: web.AppRunner, host: str, port: int) -> str:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not self._may_move:
                raise
            # Two processes start side by side without a flag; `up` prints the port.
            await web.TCPSite(runner, host, 0).start()
        bound_host, bound_port, *_ = runner.addresses[0]
        return f"http://{f'[{bound_host}]' if ':' in bound_host else bound_host}:{bound_port}"

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def _readyz(self, _: web.Request) -> web.Response:
        status = self._status()
        ready = not status.get("waiting_for")
        body = {"ready": ready, "waiting_for": [], **status}
        return web.json_response(body, status=200 if ready else 503)

    async def _expose(self, _: web.Request) -> web.Response:
        # Printing the metrics of a thousand agents takes 0.1 s: too long for the event loop.
        body, content_type = await asyncio.to_thread(self._metrics.expose)
        return web.Response(body=body, headers={"Content-Type": content_type})


def _only_to(bound: str) -> Any:
    """A middleware that refuses requests with a foreign `Host`, if `bound` is this machine."""

    @web.middleware
    async def check(request: web.Request, handler: Any) -> web.StreamResponse:
        hosts = request.headers.getall("Host", [])
        if _is_loopback(bound) and not all(_is_here(host, bound) for host in hosts):
            text = f"this address is for {bound} and localhost; ask by one of these names\n"
            return web.Response(status=421, text=text)
        return await handler(request)

    return check


def _is_here(host: str, bound: str) -> bool:
    """Whether a `Host` header names this machine."""
    found = _HOST.fullmatch(host)
    name = found["host"].strip("[]").lower() if found else ""
    return name == bound.lower() or _is_loopback(name)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parse(bind: str) -> tuple[str, int] | None:
    """The host and the port; None for "off"."""
    if bind == "off":
        return None
    found = _BIND.fullmatch(bind)
    if found is None or int(found["port"]) > 65535:
        raise UsageError(f'{bind!r} is not host:port, like 127.0.0.1:8000, or "off"')
    return found["host"].strip("[]"), int(found["port"])
