"""Liveness, readiness and metrics, for a supervisor. They need no key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agentd.metrics import Metrics

Status = Callable[[], Mapping[str, Any]]

OPEN_METRICS = "application/openmetrics-text"  # the format that shows exemplars
PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


def routes(status: Status, metrics: Metrics) -> list[Route]:
    """`/healthz`, `/readyz` and `/metrics`.

    `status` returns what the process waits for, `{"waiting_for": ["NATS"], ...}`; with an empty
    list it is ready. `/readyz` shows the other fields unchanged.
    """

    page = _Page(metrics)

    async def healthz(_: Request) -> Response:
        return JSONResponse({"alive": True})

    async def readyz(_: Request) -> Response:
        state = status()
        ready = not state.get("waiting_for")
        body = {"ready": ready, "waiting_for": [], **state}
        return JSONResponse(body, 200 if ready else 503)

    async def expose(request: Request) -> Response:
        body, content_type = await page.read(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", expose)]


class _Page:
    """The page of metrics. Requests at the same time share it.

    It needs no key, and takes 0.1 s for a thousand agents: too long for the event loop, and many of
    them would fill the threads, in which names of servers are looked up, too.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._made: dict[bool, asyncio.Task[tuple[bytes, str]]] = {}  # as OpenMetrics, and not

    async def read(self, accept: str) -> tuple[bytes, str]:
        """The page in a format that the client accepts, and its content type."""
        is_open = OPEN_METRICS in accept
        made = self._made.get(is_open)
        if made is None or made.done():
            made = self._made[is_open] = asyncio.create_task(self._make(is_open))
        # A client that goes away must not end it for the others.
        return await asyncio.shield(made)

    async def _make(self, is_open: bool) -> tuple[bytes, str]:
        await self._metrics.refresh()
        return await asyncio.to_thread(self._metrics.expose, OPEN_METRICS if is_open else "")
