"""At the start of `up`: exports what the variables of OpenTelemetry ask for."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import AsyncGenerator, Mapping

from agentd.metrics import Metrics
from agentd.telemetry.variables import wants

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def telemetry(
    env: str, metrics: Metrics, environ: Mapping[str, str] = os.environ
) -> AsyncGenerator[None]:
    """Exports what the variables ask for, for the block of `with`. Without them it does nothing,
    and imports nothing."""
    traces, measures = wants("traces", environ), wants("metrics", environ)
    if not traces and not measures:
        yield
        return
    from agentd.telemetry.export import Telemetry

    try:
        running = Telemetry(env, metrics, traces=traces, measures=measures, environ=environ)
    except (ImportError, RuntimeError, ValueError) as error:
        # A mistake in a variable must not cost a task: it costs the traces.
        log.error("nothing is exported to OpenTelemetry: %s", error)
        yield
        return
    try:
        yield
    finally:
        await running.close()
