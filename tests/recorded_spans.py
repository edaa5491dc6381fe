"""The spans of a block, kept in memory: OpenTelemetry's own SDK, without an exporter."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agentd.metrics import Reading
from agentd.telemetry import active
from agentd.telemetry.measures import Measures, readings
from agentd.telemetry.tracer import Tracer
from tests.genai_rules import broken


class Recording:
    """The spans that have ended, and the metrics."""

    def __init__(self, *, content: bool = False) -> None:
        self._exporter, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracer = Tracer(provider, Measures(meters), content=content)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """Those that have ended, in this order."""
        return self._exporter.get_finished_spans()

    def one(self, beginning: str) -> ReadableSpan:
        """The only span whose name begins so."""
        [found] = self.all(beginning)
        return found

    def all(self, beginning: str) -> list[ReadableSpan]:
        """The spans whose names begin so."""
        return [span for span in self.spans if span.name.startswith(beginning)]

    def metrics(self) -> Mapping[str, list[Reading]]:
        """The histograms, by name."""
        found: dict[str, list[Reading]] = {}
        for each in readings(self._reader):
            found.setdefault(each.name, []).append(each)
        return found

    def broken(self) -> list[str]:
        """What is wrong with the spans, by the rules of the conventions."""
        return [
            mistake
            for span in self.spans
            for mistake in broken(
                span.name,
                span.kind.name.lower(),
                said(span),
                failed=not span.status.is_unset and not span.status.is_ok,
            )
        ]


@contextmanager
def recorded(*, content: bool = False) -> Generator[Recording]:
    """Traces what runs in the block."""
    recording = Recording(content=content)
    active.tracer = recording.tracer
    try:
        yield recording
    finally:
        active.tracer = None


def said(span: ReadableSpan) -> dict[str, Any]:
    """The attributes of a span."""
    return dict(span.attributes or {})


def ids(span: ReadableSpan) -> tuple[str, str]:
    """The ids of a span: of its trace, and its own."""
    context = span.get_span_context()
    assert context
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def parent(span: ReadableSpan) -> str:
    """The id of a span's parent, "" if it has none."""
    return f"{span.parent.span_id:016x}" if span.parent else ""
