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

    async def expose(_: Request) -> Response:
        body, content_type = await page.read()
        return Response(body, headers={"Content-Type": content_type})

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", expose)]


class _Page:
    """The page of metrics. Requests at the same time share it.

    It needs no key, and takes 0.1 s for a thousand agents: too long for the event loop, and many of
    them would fill the threads, in which names of servers are looked up, too.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._made: asyncio.Task[tuple[bytes, str]] | None = None

    async def read(self) -> tuple[bytes, str]:
        """The page and its content type."""
        if self._made is None or self._made.done():
            self._made = asyncio.create_task(asyncio.to_thread(self._metrics.expose))
        # A client that goes away must not end it for the others.
        return await asyncio.shield(self._made)
