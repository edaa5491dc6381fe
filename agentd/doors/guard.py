"""Which requests may come in: checked before any door sees them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from agentd.doors import health
from agentd.doors.caller import LOCAL, Caller
from agentd.doors.refusal import Refusal

_HOST = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:\[\]/]+)(:\d{1,5})?")


class Guard:
    """ASGI middleware: passes on requests that may come in, with `request.state.caller`.

    On a loopback address it answers only requests to this machine by address or as `localhost`: a
    web page can have its own name resolve to 127.0.0.1, and read the answers in a browser here.

    `bound` is the host that the server listens on; `answer` makes the response to a refused path.
    """

    def __init__(
        self, app: ASGIApp, *, bound: str, answer: Callable[[str, Refusal], Response]
    ) -> None:
        self._app = app
        self._bound = bound
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or answers it with the reason why not."""
        try:
            scope["state"]["caller"] = self._caller(scope)
        except Refusal as refusal:
            await self._answer(scope["path"], refusal)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _caller(self, scope: Scope) -> Caller | None:
        """Who asks; None for what everyone may ask.

        Raises:
            Refusal: the request may not come in.
        """
        here = is_loopback(self._bound)
        if here:
            self._check_host(_values(scope, b"host"))
            _check_origin(_values(scope, b"origin"))
        if scope["path"] in health.PATHS:
            return None
        if not here:
            text = (
                "this address needs a key, and there are none yet: without keys, agentd serves "
                "only /healthz, /readyz and /metrics on an address that others can reach"
            )
            raise Refusal(401, "unauthorized", text, headers={"WWW-Authenticate": "Bearer"})
        return LOCAL

    def _check_host(self, hosts: Iterable[str]) -> None:
        if not all(self._is_here(host) for host in hosts):
            text = f"this address is for {self._bound} and localhost; ask by one of these names"
            raise Refusal(421, "wrong_host", text)

    def _is_here(self, host: str) -> bool:
        """Whether a `Host` header names this machine."""
        found = _HOST.fullmatch(host)
        name = found["host"].strip("[]").lower() if found else ""
        return name == self._bound.lower() or is_loopback(name)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, reached from itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_origin(origins: Iterable[str]) -> None:
    """A browser names the page that sends a request; a page of another machine may send none."""
    for origin in origins:
        try:
            foreign = not is_loopback(urlsplit(origin).hostname or "")
        except ValueError:
            foreign = True
        if foreign:
            text = f"a page of {origin[:200]!r} may not use agentd: only pages of this machine may"
            raise Refusal(403, "foreign_origin", text)


def _values(scope: Scope, name: bytes) -> list[str]:
    """All values of a header; names are in lower case already."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]
