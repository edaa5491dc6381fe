"""At the start of `up`: whether the variables of OpenTelemetry ask for anything.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import AsyncGenerator, Mapping

from agentd.metrics import Metrics

log = logging.getLogger(__name__)

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


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


def wants(signal: str, environ: Mapping[str, str]) -> bool:
    """Whether `traces` or `metrics` are to be exported over OTLP/HTTP."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    upper = signal.upper()
    exporters = _list(environ, f"OTEL_{upper}_EXPORTER")
    endpoint = environ.get(f"OTEL_EXPORTER_OTLP_{upper}_ENDPOINT") or environ.get(_ENDPOINT)
    asked = "otlp" in exporters or (endpoint is not None and endpoint.strip() and not exporters)
    if not asked:
        return False
    protocol = environ.get(f"OTEL_EXPORTER_OTLP_{upper}_PROTOCOL") or environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL"
    )
    if protocol and protocol != "http/protobuf":
        text = "no %s are exported: OTEL_EXPORTER_OTLP_PROTOCOL is %r; agentd exports http/protobuf"
        log.error(text, signal, protocol)
        return False
    return True


def _list(environ: Mapping[str, str], name: str) -> list[str]:
    return [each for part in environ.get(name, "").split(",") if (each := part.strip().lower())]
