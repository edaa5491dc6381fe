"""Providers and exporters. Whatever becomes of an exporter, tasks do not wait for it.

Spans wait in memory for the thread that exports them; when too many wait, the oldest are dropped.
An exporter that fails is logged once, and once more when it works again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Mapping
from threading import Thread
from typing import Any

from opentelemetry import trace as otel_trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricExportResult,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from agentd import __version__
from agentd.metrics import Metrics
from agentd.protocol import trace
from agentd.protocol.message import new_id
from agentd.telemetry import active
from agentd.telemetry.measures import Measures, readings
from agentd.telemetry.tracer import Tracer
from agentd.telemetry.variables import address

log = logging.getLogger(__name__)

_LAST_EXPORT = 3.0  # seconds that the end of the process waits for what is not exported yet
_HTTP = "opentelemetry.exporter.otlp.proto.http"
# Where OpenTelemetry writes a line for each failure, each retry and each span that is dropped.
_NOISY = (
    f"{_HTTP}.trace_exporter",
    f"{_HTTP}.metric_exporter",
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.metrics._internal.export",
)


class Telemetry:
    """What one process exports, from its start to `close`.

    Raises:
        RuntimeError, ValueError: a variable is wrong.
    """

    def __init__(
        self,
        env: str,
        metrics: Metrics,
        *,
        traces: bool,
        measures: bool,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        _LINES.install()
        self._environ = environ
        self._exporters: list[Reported] = []
        self._resource = resource(env)
        self._closing: list[Callable[[], None]] = []
        self._metrics = metrics
        reader = InMemoryMetricReader()
        meters = self._meters(reader, measures=measures)
        tracers = self._tracers(traces=traces)
        metrics.also(lambda: readings(reader))
        active.tracer = Tracer(tracers, Measures(meters), content=wants_content(environ))
        metrics.span_ids = span_ids
        self._ids = SpanIdFilter()
        for handler in logging.getLogger().handlers:
            handler.addFilter(self._ids)

    async def close(self) -> None:
        """Exports what waits, for a few seconds at most."""
        active.tracer = None
        self._metrics.span_ids = None
        for handler in logging.getLogger().handlers:
            handler.removeFilter(self._ids)
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def work() -> None:
            for close in self._closing:
                close()
            with contextlib.suppress(RuntimeError):  # the loop has not waited so long
                loop.call_soon_threadsafe(done.set)

        # A daemon: an exporter that hangs must not keep the process.
        Thread(target=work, name="last export", daemon=True).start()
        try:
            async with asyncio.timeout(_LAST_EXPORT):
                await done.wait()
        except TimeoutError:
            for exporter in self._exporters:
                exporter.shutdown()
            if not any(exporter.failing for exporter in self._exporters):
                where = " and ".join(sorted({exporter.to for exporter in self._exporters}))
                log.warning("what came last was not exported: no answer from %s", where)

    def _tracers(self, *, traces: bool) -> otel_trace.TracerProvider:
        """The provider of the process: ours, unless it was started with another."""
        if not traces:
            return otel_trace.NoOpTracerProvider()
        existing = otel_trace.get_tracer_provider()
        if isinstance(existing, TracerProvider):
            return existing
        exporter = self._reported("traces", OTLPSpanExporter(), SpanExportResult.SUCCESS)
        provider = TracerProvider(resource=self._resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter))  # type: ignore[arg-type]
        self._closing.append(provider.shutdown)
        # Not set as that of the whole process: libraries would add spans of their own to each of
        # ours. They find our span in the context, and pass it on.
        return provider

    def _meters(self, reader: InMemoryMetricReader, *, measures: bool) -> MeterProvider:
        readers: list[Any] = [reader]
        if measures:
            exporter = self._reported("metrics", OTLPMetricExporter(), MetricExportResult.SUCCESS)
            readers.append(PeriodicExportingMetricReader(exporter))  # type: ignore[arg-type]
        provider = MeterProvider(readers, resource=self._resource, shutdown_on_exit=False)
        self._closing.append(provider.shutdown)
        return provider

    def _reported(self, signal: str, exporter: Any, success: object) -> Reported:
        reported = Reported(signal, exporter, success, to=address(signal, self._environ))
        self._exporters.append(reported)
        return reported


def resource(env: str) -> Resource:
    """Who exports. What `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say comes first."""
    given = Resource.create()
    own = {
        "service.name": "agentd",
        "service.version": __version__,
        "service.instance.id": f"{socket.gethostname()}-{os.getpid()}-{new_id()[:8]}",
        "deployment.environment.name": env,
    }
    if not str(given.attributes.get("service.name", "")).startswith("unknown_service"):
        del own["service.name"]
    missing = {k: v for k, v in own.items() if k == "service.name" or k not in given.attributes}
    return given.merge(Resource(missing))


def wants_content(environ: Mapping[str, str]) -> bool:
    """Whether spans may have the contents of messages."""
    asked = environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "")
    return asked.strip().lower() in ("true", "span_only", "span_and_event")


def span_ids() -> Mapping[str, str] | None:
    """The ids of the current span, if it is recorded."""
    here = trace.current()
    if here is None or not here.sampled:
        return None
    return {"trace_id": here.trace_id, "span_id": here.span_id}


class SpanIdFilter(logging.Filter):
    """Adds the ids of the current span to records of the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass."""
        if here := trace.current():
            record.trace_id, record.span_id = here.trace_id, here.span_id
        return True


class _Lines(logging.Filter):
    """Keeps the lines of OpenTelemetry itself out of the log, and remembers the last of each."""

    def __init__(self) -> None:
        super().__init__()
        self.last: dict[str, str] = {}

    def install(self) -> None:
        """Begins. It does not end: a thread that was given up may go on to write lines."""
        for name in _NOISY:
            logging.getLogger(name).addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets no record pass."""
        self.last[record.name] = record.getMessage()
        return False


_LINES = _Lines()


class Reported:
    """An exporter whose failures are logged: once, until it works again."""

    def __init__(self, signal: str, exporter: Any, success: object, *, to: str) -> None:
        self._exporter = exporter
        self._success = success
        self._signal = signal
        self.to = to
        self._logger = type(exporter).__module__  # under this name it says why it failed
        self.failing = False
        self._ended = False

    def shutdown(self, *arguments: Any, **options: Any) -> None:
        """Ends its retries. What it fails to export from now on is nobody's concern."""
        self._ended = True
        self._exporter.shutdown(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exporter, name)

    def export(self, batch: Any, *arguments: Any, **options: Any) -> Any:
        """Exports a batch. It may take as long as `OTEL_EXPORTER_OTLP_TIMEOUT`."""
        why = ""
        try:
            result = self._exporter.export(batch, *arguments, **options)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs spans and nothing else
            result, why = None, f"{type(error).__name__}: {error}"
        failed = result is not self._success
        if self._ended:
            return result
        if failed and not self.failing:
            why = why or _LINES.last.get(self._logger, "the exporter failed")
            text = "%s are not exported to %s: %s; tasks are not affected"
            log.warning(text, self._signal, self.to, why)
        if self.failing and not failed:
            log.info("%s are exported again", self._signal)
        self.failing = failed
        return result
