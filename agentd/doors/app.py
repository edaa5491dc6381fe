"""One application made of the doors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from agentd.doors import health
from agentd.doors.api import openapi, tasks
from agentd.doors.backend import Backend
from agentd.doors.guard import Guard, is_loopback
from agentd.doors.keys import Keys
from agentd.doors.limits import Limits
from agentd.doors.openai import door as openai
from agentd.doors.problem import problem
from agentd.doors.refusal import Refusal, refusal_of
from agentd.doors.traffic import Traffic
from agentd.errors import AgentdError
from agentd.metrics import Metrics

Door = Callable[[Backend], Sequence[Route]]
Shape = Callable[[Refusal], Response]

# Each door, and what its errors look like where that is not `problem`: by the beginning of a path.
DOORS: tuple[Door, ...] = (tasks.routes, openapi.routes, openai.routes)
SHAPES: dict[str, Shape] = {**openai.SHAPES}

_CODES = {404: "not_found", 405: "method_not_allowed"}
_CLIENT_HAS_GONE = 499


class App:
    """The ASGI application. Until `open`, it has only health, readiness and metrics.

    `bound` is the host that the server listens on.
    """

    def __init__(
        self,
        *,
        bound: str,
        keys: Keys,
        metrics: Metrics,
        limits: Limits,
        status: health.Status,
        doors: Sequence[Door] = DOORS,
    ) -> None:
        self._health = health.routes(status, metrics)
        self._traffic = Traffic(limits, metrics)
        self._bound = bound
        self._keys = keys
        self._doors = doors
        self._app = self._guarded([*self._health, _starting()])

    def open(self, backend: Backend) -> None:
        """Opens the doors: the agents of this process run."""
        routes = [route for door in self._doors for route in door(backend)]
        self._traffic.draining = backend.draining
        self._app = self._guarded([*self._health, *routes])

    @property
    def is_closed(self) -> bool:
        """Whether it has only health, readiness and metrics: others reach it, and have no keys."""
        return not is_loopback(self._bound) and not self._keys.are_needed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        await self._app(scope, receive, send)

    def _guarded(self, routes: Sequence[Route]) -> Guard:
        handlers = {
            AgentdError: _on_error,
            ClientDisconnect: _on_disconnect,
            HTTPException: _on_http_error,
            Exception: _on_bug,
        }
        app = Starlette(routes=routes, exception_handlers=handlers)
        # A redirect would name the host that the caller claims.
        app.router.redirect_slashes = False
        return Guard(app, bound=self._bound, keys=self._keys, traffic=self._traffic, answer=answer)


def answer(path: str, refusal: Refusal) -> Response:
    """The response to a request that is not served, in the shape of the door of its path."""
    shape = next((SHAPES[start] for start in SHAPES if path.startswith(start)), problem)
    return shape(refusal)


def _starting() -> Route:
    async def starting(_: Request) -> Response:
        text = "agentd is starting: /readyz says what it waits for"
        raise Refusal(503, "starting", text, headers={"Retry-After": "1"})

    return Route("/{path:path}", starting, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AgentdError)
    return answer(request.url.path, refusal_of(error))


async def _on_http_error(request: Request, error: Exception) -> Response:
    """What Starlette refuses: no such path, no such method."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    text = {404: f"there is nothing at {path[:200]}", 405: f"{path[:200]} has no {request.method}"}
    code = _CODES.get(error.status_code, "malformed")
    detail = text.get(error.status_code, error.detail)
    return answer(path, Refusal(error.status_code, code, detail, headers=error.headers))


async def _on_disconnect(_: Request, __: Exception) -> Response:
    return Response(status_code=_CLIENT_HAS_GONE)


async def _on_bug(request: Request, _: Exception) -> Response:
    """The error itself is for the log, where uvicorn writes it with its place."""
    text = "agentd made a mistake; its log says where"
    return answer(request.url.path, Refusal(500, "internal", text))
