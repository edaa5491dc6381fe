"""Which requests may come in: checked before any door sees them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from agentd.doors import health
from agentd.doors.caller import LOCAL, Caller
from agentd.doors.keys import Keys, unauthorized
from agentd.doors.refusal import Refusal
from agentd.doors.traffic import Exchange, Traffic
from agentd.doors.well_formed import require_well_formed
from agentd.errors import AgentdError
from agentd.protocol.trace import TraceContext, entered

_HOST = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:\[\]/]+)(:\d{1,5})?")
_MAKE = "`agentd keys add NAME --may ask,read` makes one"

# Who calls a webhook has no key: the trigger checks the signature. A tunnel in front may keep its
# own name in `Host`. So that is left to the trigger too: `request.state.stranger` is why another
# request may not come in.
_HOOKS = "/hooks/"
_SENDER = Caller(name="webhook", may=frozenset())
# The page has nothing of anybody in it: it asks for a key, and shows what the key may see.
_PAGE, _FILES = "/", "/page/"
_VISITOR = Caller(name="page", may=frozenset())
_SUPERVISOR = Caller(name="supervisor", may=frozenset())


class Guard:
    """ASGI middleware: passes on requests that may come in, with `request.state.caller`.

    On a loopback address it answers only requests to this machine by address or as `localhost`: a
    web page can have its own name resolve to 127.0.0.1, and read the answers in a browser here.

    Once there are keys, every request needs one. Without keys, an address that others can reach
    has only health, readiness, metrics and the webhooks that a manifest makes public.

    `bound` is the host that the server listens on; `answer` makes the response to a request that
    is refused, here or behind.
    """

    def __init__(
        self,
        router: Router,
        *,
        bound: str,
        keys: Keys,
        traffic: Traffic,
        answer: Callable[[Scope, Exception], Response],
    ) -> None:
        self._router = router
        self._bound = bound
        self._is_local = is_loopback(bound)
        self._keys = keys
        self._traffic = traffic
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or answers it with the reason why not."""
        with Exchange(self._traffic, scope, receive, send) as exchange:
            try:
                caller = scope["state"]["caller"] = self._caller(scope)
                exchange.admit(caller.name)
                scope["app"] = self._router  # what there is not, the routes then raise
                with entered(_trace(scope)):
                    await self._router(scope, exchange.receive, exchange.send)
            except Exception as error:
                if exchange.has_begun:
                    raise  # the response can only be broken off
                await self._answer(scope, error)(scope, exchange.receive, exchange.send)
                if not isinstance(error, AgentdError | HTTPException | ClientDisconnect):
                    raise  # a mistake is for the log of the server, too

    def _caller(self, scope: Scope) -> Caller:
        """Who asks.

        Raises:
            Refusal: the request may not come in.
        """
        require_well_formed(scope)
        hook = scope["path"].startswith(_HOOKS)
        try:
            self._check_place(scope)
        except Refusal as refusal:
            if not hook:
                raise
            scope["state"]["stranger"] = refusal
        if scope["path"] in health.PATHS:
            return _SUPERVISOR
        if self._traffic.draining.is_set() and scope["method"] not in ("GET", "HEAD"):
            text = "this process is ending; send the request again"
            raise Refusal(503, "draining", text, headers={"Retry-After": "1"})
        if hook:
            return _SENDER
        caller = LOCAL
        if self._keys.are_needed:
            if _is_page(scope):
                return _VISITOR
            caller = self._keys.caller(_key(scope))
        return replace(caller, foreign=True) if _is_foreign(scope) else caller

    def _check_place(self, scope: Scope) -> None:
        if self._is_local:
            self._check_host(_values(scope, b"host"))
            if not _is_same_site(scope):
                _check_origin(_values(scope, b"origin"))
        elif scope["path"] not in health.PATHS and not self._keys.are_needed:
            raise unauthorized(
                "there are no keys yet: until there are, agentd serves only /healthz, /readyz, "
                "/metrics and webhooks with `public: true` on an address that others can reach; "
                f"{_MAKE}"
            )

    def _check_host(self, hosts: Iterable[str]) -> None:
        if not all(self._is_here(host) for host in hosts):
            text = f"this address is for {self._bound} and localhost; ask by one of these names"
            raise Refusal(421, "wrong_host", text)

    def _is_here(self, host: str) -> bool:
        """Whether a `Host` header names this machine."""
        found = _HOST.fullmatch(host)
        name = found["host"].strip("[]").lower() if found else ""
        return name == self._bound.lower() or is_loopback(name)


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether a host is this machine, reached from itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_page(scope: Scope) -> bool:
    """Whether it asks for the page, or for a file of it."""
    path = scope["path"]
    return scope["method"] in ("GET", "HEAD") and (path == _PAGE or path.startswith(_FILES))


def _is_same_site(scope: Scope) -> bool:
    """Whether a browser says that the page of the request is ours. No page can say so itself.

    Behind a proxy nothing else does: `Origin` has the name of the proxy, and `Host` has ours.
    """
    return _values(scope, b"sec-fetch-site") == ["same-origin"]


def _is_foreign(scope: Scope) -> bool:
    """Whether a browser sends the request for a page that is not ours."""
    if sites := _values(scope, b"sec-fetch-site"):
        return sites not in (["same-origin"], ["none"])  # none: a person typed the address
    # Browsers leave that header out on an address without TLS.
    hosts = _values(scope, b"host")
    return any(origin.partition("://")[2] not in hosts for origin in _values(scope, b"origin"))


def _key(scope: Scope) -> str:
    """The key of a request.

    Raises:
        Refusal: 401; there is none.
    """
    values = _values(scope, b"authorization")
    if not values:
        raise unauthorized(f"a key is missing: send `Authorization: Bearer KEY`; {_MAKE}")
    scheme, _, key = values[0].partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise unauthorized("the key is missing: Authorization must be `Bearer KEY`")
    return key.strip()


def _trace(scope: Scope) -> TraceContext | None:
    """The trace that the request belongs to, if it names one."""
    if not (parents := _values(scope, b"traceparent")):
        return None
    state = ",".join(_values(scope, b"tracestate"))
    return TraceContext.of({"traceparent": parents[0], "tracestate": state})


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
