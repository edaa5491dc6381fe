"""The metrics of the GenAI conventions: for OTLP, and beside ours in the format of Prometheus.

They are recorded once, in OpenTelemetry's own instruments; `/metrics` reads these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    Histogram,
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
)

from agentd import __version__
from agentd.metrics import Exemplar, Reading
from agentd.models.port import ModelAttempt
from agentd.telemetry import names

_SECONDS = [0.01 * 2**n for n in range(14)]
_TOKENS = [4**n for n in range(14)]
_LABELS = frozenset(
    {names.OPERATION, names.PROVIDER, names.REQUEST_MODEL, names.AGENT_NAME, names.TOOL_NAME}
)
_UNITS = {"s": "_seconds"}


class Measures:
    """The instruments of one process."""

    def __init__(self, provider: MeterProvider) -> None:
        meter = provider.get_meter("agentd", __version__)

        def seconds(name: str, text: str) -> Any:
            return meter.create_histogram(
                name, "s", text, explicit_bucket_boundaries_advisory=_SECONDS
            )

        self._calls = seconds(names.CALL_SECONDS, "GenAI operation duration")
        self._first = seconds(
            names.FIRST_CHUNK_SECONDS, "Time to the first chunk of a streamed answer"
        )
        self._agents = seconds(names.AGENT_SECONDS, "Duration of the invocation of an agent")
        self._tools = seconds(names.TOOL_SECONDS, "Duration of the execution of a tool")
        self._tokens = meter.create_histogram(
            names.TOKENS,
            "{token}",
            "Number of input and output tokens used",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )

    def agent(self, span: Mapping[str, Any], seconds: float, code: str) -> None:
        """One run of an agent, with the attributes of its span."""
        self._agents.record(seconds, _labels(span, code))

    def tool(self, span: Mapping[str, Any], seconds: float, code: str) -> None:
        """One call of a tool."""
        self._tools.record(seconds, _labels(span, code))

    def chat(
        self,
        span: Mapping[str, Any],
        attempt: ModelAttempt,
        first_chunk: float | None,
        context: Context,
    ) -> None:
        """One call of a model; `context` has its span."""
        labels = _labels(span, attempt.code)
        usage = attempt.usage
        if attempt.completion:
            labels[names.RESPONSE_MODEL] = attempt.completion.model
            usage = attempt.completion.usage
        self._calls.record(attempt.seconds, labels, context)
        if first_chunk is not None:
            self._first.record(first_chunk, labels, context)
        labels.pop(names.ERROR, None)
        counts = {"input": usage.input_tokens, "output": usage.output_tokens} if usage else {}
        for kind, tokens in counts.items():
            self._tokens.record(max(0, tokens), {**labels, names.TOKEN_TYPE: kind}, context)


def _labels(span: Mapping[str, Any], code: str) -> dict[str, Any]:
    """What of a span tells metrics apart: never an id."""
    labels = {name: value for name, value in span.items() if name in _LABELS}
    return {**labels, names.ERROR: code} if code else labels


def readings(reader: InMemoryMetricReader) -> Iterator[Reading]:
    """The histograms of a reader, as Prometheus names them."""
    data = reader.get_metrics_data()
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            yield from _of(scope.metrics)


def _of(metrics: Iterable[Metric]) -> Iterator[Reading]:
    for metric in metrics:
        if isinstance(metric.data, Histogram):
            name = f"{_prometheus(metric.name)}{_UNITS.get(metric.unit or '', '')}"
            for point in metric.data.data_points:
                yield _reading(name, metric.description or "", point)


def _reading(name: str, text: str, point: HistogramDataPoint) -> Reading:
    bounds = [*map(float, point.explicit_bounds), float("inf")]
    exemplars = {
        next(bound for bound in bounds if each.value <= bound): each for each in point.exemplars
    }
    return Reading(
        name=name,
        text=text,
        labels={_prometheus(k): str(v) for k, v in (point.attributes or {}).items()},
        buckets=[
            (bound, count, _exemplar(exemplars.get(bound)))
            for bound, count in zip(bounds, accumulate(point.bucket_counts), strict=True)
        ],
        sum=point.sum,
    )


def _exemplar(found: Any) -> Exemplar | None:
    if found is None or not found.trace_id:
        return None
    return Exemplar(
        {"trace_id": f"{found.trace_id:032x}", "span_id": f"{found.span_id:016x}"},
        float(found.value),
    )


def _prometheus(name: str) -> str:
    return name.replace(".", "_")
