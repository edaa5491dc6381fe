"""One application made of the doors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
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
    from agentd.doors.api import approvals, letters, live, openapi, schedules, tasks, topology
    from agentd.doors.openai import door as openai
    from agentd.doors.page import door as page
    from agentd.doors.triggers import webhooks

    api = (tasks, approvals, letters, schedules, topology, live, openapi)
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
        handlers = {
            AgentdError: self._on_error,
            ClientDisconnect: _on_disconnect,
            HTTPException: self._on_http_error,
            Exception: self._on_bug,
        }
        app = Starlette(routes=routes, exception_handlers=handlers)
        # A redirect would name the host that the caller claims.
        app.router.redirect_slashes = False
        return Guard(
            app, bound=self._bound, keys=self._keys, traffic=self._traffic, answer=self._answer
        )

    def _answer(self, path: str, refusal: Refusal) -> Response:
        """The response to a request that is not served, in the shape of the door of its path."""
        shapes = self._shapes
        shape = next((shapes[start] for start in shapes if path.startswith(start)), problem)
        return shape(refusal)

    async def _on_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, AgentdError)
        return self._answer(_path(request), refusal_of(error))

    async def _on_http_error(self, request: Request, error: Exception) -> Response:
        """What Starlette refuses: no such path, no such method."""
        assert isinstance(error, HTTPException)
        path = _path(request)
        shown = path[:200]
        text = {404: f"there is nothing at {shown}", 405: f"{shown} has no {request.method}"}
        code = _CODES.get(error.status_code, "malformed")
        detail = text.get(error.status_code, error.detail)
        return self._answer(path, Refusal(error.status_code, code, detail, headers=error.headers))

    async def _on_bug(self, request: Request, _: Exception) -> Response:
        """The error itself is for the log, where uvicorn writes it with its place."""
        text = "agentd made a mistake; its log says where"
        return self._answer(_path(request), Refusal(500, "internal", text))


def _path(request: Request) -> str:
    # Not that of `request.url`, which is made of the `Host` that the caller claims.
    return request.scope["path"]


def _starting() -> Route:
    async def starting(_: Request) -> Response:
        text = "agentd is starting: /readyz says what it waits for"
        raise Refusal(503, "starting", text, headers={"Retry-After": "1"})

    return Route("/{path:path}", starting, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])


async def _on_disconnect(_: Request, __: Exception) -> Response:
    return Response(status_code=_CLIENT_HAS_GONE)
