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

    async def healthz(_: Request) -> Response:
        return JSONResponse({"alive": True})

    async def readyz(_: Request) -> Response:
        state = status()
        ready = not state.get("waiting_for")
        body = {"ready": ready, "waiting_for": [], **state}
        return JSONResponse(body, 200 if ready else 503)

    async def expose(_: Request) -> Response:
        # Printing the metrics of a thousand agents takes 0.1 s: too long for the event loop.
        body, content_type = await asyncio.to_thread(metrics.expose)
        return Response(body, headers={"Content-Type": content_type})

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", expose)]
