"""One application made of the doors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from agentd.doors import health
from agentd.doors.backend import Backend
from agentd.doors.guard import Guard, is_loopback
from agentd.doors.keys import Keys
from agentd.doors.limits import Limits
from agentd.doors.problem import problem
from agentd.doors.refusal import Refusal, refusal_of
from agentd.doors.traffic import Traffic
from agentd.errors import AgentdError
from agentd.metrics import Metrics

Door = Callable[[Backend], Sequence[Route]]
Shape = Callable[[Refusal], Response]

_CODES = {404: "not_found", 405: "method_not_allowed"}
_CLIENT_HAS_GONE = 499


def every_door() -> tuple[Sequence[Door], Mapping[str, Shape]]:
    """The doors; and what errors look like where that is not `problem`, by the beginning of a path.

    They are imported when the first request comes: an `up` that nobody calls does not need them.
    """
    from agentd.doors.api import (
        approvals,
        audit,
        letters,
        live,
        openapi,
        record,
        schedules,
        tasks,
        topology,
    )
    from agentd.doors.openai import door as openai
    from agentd.doors.page import door as page
    from agentd.doors.triggers import webhooks

    api = (tasks, approvals, letters, schedules, topology, live, record, audit, openapi)
    doors = tuple(each.routes for each in (*api, openai, webhooks, page))
    return doors, {**openai.SHAPES}


class App:
    """The ASGI application. Until `open`, it has only health, readiness and metrics.

    `bound` is the host that the server listens on; `doors` are called for at the first request.
    """

    def __init__(
        self,
        *,
        bound: str,
        keys: Keys,
        metrics: Metrics,
        limits: Limits,
        status: health.Status,
        doors: Callable[[], tuple[Sequence[Door], Mapping[str, Shape]]] = every_door,
    ) -> None:
        self._health = health.routes(status, metrics)
        self._traffic = Traffic(limits, metrics)
        self._bound = bound
        self._keys = keys
        self._doors = doors
        self._shapes: Mapping[str, Shape] = {}
        self._backend: Backend | None = None  # while the doors have not been called for
        self._opening = asyncio.Lock()
        self._app = self._guarded([*self._health, _starting()])

    def open(self, backend: Backend) -> None:
        """Opens the doors: the agents of this process run."""
        self._traffic.draining = backend.draining
        self._backend = backend

    @property
    def is_closed(self) -> bool:
        """Whether it has only health, readiness and metrics: others reach it, and have no keys."""
        return not is_loopback(self._bound) and not self._keys.are_needed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if self._backend is not None and scope["path"] not in health.PATHS:
            await self._open()
        await self._app(scope, receive, send)

    async def _open(self) -> None:
        async with self._opening:
            if self._backend is None:
                return  # another request was first
            # In a thread: the imports take a tenth of a second.
            doors, self._shapes = await asyncio.to_thread(self._doors)
            routes = [route for door in doors for route in door(self._backend)]
            self._app = self._guarded([*self._health, *routes])
            self._backend = None

    def _guarded(self, routes: Sequence[Route]) -> Guard:
        # Not a `Starlette`: its two layers of middleware answer errors, as the guard does.
        # A redirect would name the host that the caller claims.
        router = Router(routes, redirect_slashes=False)
        return Guard(
            router, bound=self._bound, keys=self._keys, traffic=self._traffic, answer=self._answer
        )

    def _answer(self, scope: Scope, error: Exception) -> Response:
        """The response to a request that is not served, in the shape of the door of its path."""
        if isinstance(error, ClientDisconnect):
            return Response(status_code=_CLIENT_HAS_GONE)
        path = scope["path"]  # not of `Request.url`, which is made of the `Host` of the caller
        shape = next(
            (self._shapes[start] for start in self._shapes if path.startswith(start)), problem
        )
        return shape(_refusal(error, scope["method"], path))


def _refusal(error: Exception, method: str, path: str) -> Refusal:
    match error:
        case AgentdError():
            return refusal_of(error)
        case HTTPException(status_code=status, headers=headers):  # no such path, no such method
            shown = path[:200]
            text = {404: f"there is nothing at {shown}", 405: f"{shown} has no {method}"}
            code = _CODES.get(status, "malformed")
            return Refusal(status, code, text.get(status, error.detail), headers=headers)
        case _:  # the error itself is for the log, where uvicorn writes it with its place
            return Refusal(500, "internal", "agentd made a mistake; its log says where")


def _starting() -> Route:
    async def starting(_: Request) -> Response:
        text = "agentd is starting: /readyz says what it waits for"
        raise Refusal(503, "starting", text, headers={"Retry-After": "1"})

    return Route("/{path:path}", starting, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
