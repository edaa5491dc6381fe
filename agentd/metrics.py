"""The metrics of a process: counters, durations and gauges, in the format of Prometheus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as _Exemplar

_Metric = TypeVar("_Metric", Counter, Gauge, Histogram)

# Seconds: from the answer of a mock model to the longest runs that a person waits for.
_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

# Of the span that a value was measured in: `trace_id` and `span_id`.
SpanIds = Callable[[], Mapping[str, str] | None]

_TRIGGER, _CALLBACK = ("kind", "trigger", "outcome"), ("agent_id", "outcome")


class Metrics:
    """The metrics of one process, in their own registry.

    The labels are agents, models, tools, endpoints and outcomes, of which there are few. An id of a
    message or a conversation must never be a label: Prometheus stores one series for each value.

    Attributes:
        span_ids: the exemplars of durations, where tasks are traced; None without a tracer.
        refresh: reads what is only read when somebody looks at the metrics.
    """

    span_ids: SpanIds | None = None

    def __init__(self) -> None:
        self.refresh: Callable[[], Awaitable[None]] = _nothing
        registry = self._registry = CollectorRegistry()
        make = _Maker(registry)
        ProcessCollector(registry=registry)
        self._make_of_tasks(make)
        self._make_of_calls(make)
        self._make_of_process(make)
        self.waiting(approvals=nan, dead_letters=nan, queues={})

    def _make_of_tasks(self, make: _Maker) -> None:
        counter, seconds, gauge = make.counter, make.seconds, make.gauge
        self._tasks = counter("agent_tasks_total", "Tasks done", "agent_id", "status")
        self._task_seconds = seconds(
            "agent_task_duration_seconds", "From a task's delivery to its outcome", "agent_id"
        )
        self._in_flight = gauge("agentd_tasks_in_flight", "Tasks running now", "agent_id")
        self._agent_tokens = counter(
            "agent_tokens_total", "Tokens that its tasks have used", "agent_id", "direction"
        )
        self._agent_cost = counter(
            "agent_cost_usd_total", "Cost of the tasks of an agent, if it is known", "agent_id"
        )
        self._late_facts = counter(
            "agentd_late_facts_total", "Facts that arrived after their join had closed", "agent_id"
        )
        self._approvals = gauge(
            "agentd_approvals_waiting", "Tasks that are suspended until a person decides"
        )
        self._dead_letters = gauge("agentd_dead_letters", "Dead letters that nobody has handled")
        self._depth = gauge("agentd_queue_depth", "Tasks that wait for an agent", "route")
        self._age = gauge("agentd_queue_age_seconds", "Age of the oldest of these tasks", "route")
        self._triggers = counter("agentd_trigger_deliveries_total", "Deliveries", *_TRIGGER)
        self._callbacks = counter("agentd_callbacks_total", "Results posted", *_CALLBACK)

    def _make_of_calls(self, make: _Maker) -> None:
        counter, seconds, gauge = make.counter, make.seconds, make.gauge
        self._calls = counter("agentd_model_calls_total", "Model calls", "model", "status")
        self._call_seconds = seconds(
            "agentd_model_call_duration_seconds", "Model calls, to the end of the answer", "model"
        )
        self._tokens = counter(
            "agentd_model_tokens_total",
            "Tokens read (input), written (output)",
            "model",
            "direction",
        )
        self._cost = counter(
            "agentd_model_cost_usd_total", "Cost of model calls, if it is known", "model"
        )
        self._tool_calls = counter("agentd_tool_calls_total", "Tool calls", "tool", "status")
        self._tool_seconds = seconds(
            "agentd_tool_call_duration_seconds", "Tool calls, to the end of the answer", "tool"
        )
        self._limit = gauge("agentd_model_limit", "Calls that may run at the same time", "endpoint")
        self._waiting = gauge("agentd_model_waiting", "Calls that wait for a slot", "endpoint")
        self._cooldowns = counter(
            "agentd_model_cooldowns_total", "Cooldowns of endpoints", "endpoint", "cause"
        )

    def _make_of_process(self, make: _Maker) -> None:
        counter, seconds, gauge = make.counter, make.seconds, make.gauge
        self._reloads = counter(
            "agentd_reloads_total", "Edits that took effect or were refused", "outcome"
        )
        self._background = counter(
            "agentd_background_failures_total", "Failures of background work", "work"
        )
        self._requests = counter(
            "agentd_http_requests_total", "Requests over HTTP answered", "route", "status"
        )
        self._request_seconds = seconds(
            "agentd_http_request_duration_seconds", "Requests, to the end of the response", "route"
        )
        self._requests_in_flight = gauge(
            "agentd_http_requests_in_flight", "Requests that are being served now"
        )
        self._audit_lag = gauge("agentd_audit_lag_seconds", "Age of what has no checkpoint yet")

    def task(self, agent_id: str, status: str, seconds: float) -> None:
        """One task whose outcome (`success`, `error`) is stored, `seconds` after its delivery."""
        self._tasks(agent_id, status).inc()
        self._observe(self._task_seconds(agent_id), seconds)

    def in_flight(self, agent_id: str, n: int) -> None:
        """`n` tasks of the agent are running now."""
        self._in_flight(agent_id).set(n)

    def agent_spent(
        self, agent_id: str, *, input_tokens: int, output_tokens: int, cost: float | None
    ) -> None:
        """What one delivery of a task has used in all; `cost` is in USD, None if unknown."""
        self._agent_tokens(agent_id, "input").inc(input_tokens)
        self._agent_tokens(agent_id, "output").inc(output_tokens)
        if cost is not None:
            self._agent_cost(agent_id).inc(cost)

    def late_fact(self, agent_id: str) -> None:
        """One fact for a join of the agent came too late."""
        self._late_facts(agent_id).inc()

    def waiting(
        self, *, approvals: float, dead_letters: float, queues: Mapping[str, tuple[float, float]]
    ) -> None:
        """What waits in the environment; of each route that this process serves, how many tasks,
        and since how many seconds the oldest of them."""
        self._approvals().set(approvals)
        self._dead_letters().set(dead_letters)
        for series in (self._depth, self._age):
            series.clear()
        for route, (depth, age) in queues.items():
            self._depth(route).set(depth)
            self._age(route).set(age)

    def audit_lag(self, seconds: float) -> None:
        """How long the oldest message of the log has waited for a checkpoint of the audit."""
        self._audit_lag().set(seconds)

    def background_failure(self, work: str) -> None:
        """Work in the background failed, for example `housekeeping`."""
        self._background(work).inc()

    def trigger(self, kind: str, trigger: str, outcome: str) -> None:
        """One delivery to a trigger: `accepted`, `repeated`, `ignored`, `checked`, `refused` or
        `failed`."""
        self._triggers(kind, trigger, outcome).inc()

    def callback(self, agent_id: str, outcome: str) -> None:
        """One try to post a result: `posted`, `failed`, or `given_up` for the last one."""
        self._callbacks(agent_id, outcome).inc()

    def reload(self, outcome: str) -> None:
        """One edit of one agent: `reloaded` or `rejected`."""
        self._reloads(outcome).inc()

    def model_call(
        self,
        model: str,
        status: str,
        seconds: float,
        *,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cost: float | None = None,
    ) -> None:
        """One call. `status` is `success` or an error's code; `cost` is in USD, None if unknown.

        Tokens and cost come from a provider: impossible numbers are ignored without an error.
        """
        self._calls(model, status).inc()
        self._observe(self._call_seconds(model), seconds)
        self._tokens(model, "input").inc(max(0, input_tokens))
        self._tokens(model, "output").inc(max(0, output_tokens))
        if cost is not None and 0 <= cost < float("inf"):
            self._cost(model).inc(cost)

    def tool_call(self, tool: str, status: str, seconds: float) -> None:
        """One call of one of the agent's tools; `status` is `success` or `error`."""
        self._tool_calls(tool, status).inc()
        self._observe(self._tool_seconds(tool), seconds)

    def endpoint(
        self, endpoint: str, *, limit: Callable[[], float], waiting: Callable[[], float]
    ) -> None:
        """Registers functions that return how many calls may run at the same time, and how many
        wait; they are called at each scrape."""
        self._limit(endpoint).set_function(limit)
        self._waiting(endpoint).set_function(waiting)

    def cooldown(self, endpoint: str, cause: str) -> None:
        """One cooldown of an endpoint; `cause` is `retry_after`, `announced` or `unreachable`."""
        self._cooldowns(endpoint, cause).inc()

    def http_request(self, route: str, status: int, seconds: float) -> None:
        """One request. `route` is the path of the route, never that of the request; `status` is 0
        if there was no response."""
        self._requests(route, str(status)).inc()
        self._observe(self._request_seconds(route), seconds)

    def http_in_flight(self, number: Callable[[], float]) -> None:
        """Registers a function that returns how many requests are being served."""
        self._requests_in_flight().set_function(number)

    def forget(self, agent_id: str) -> None:
        """Removes the series of an agent that was removed; otherwise they would stay for ever."""
        for series in (self._tasks, self._task_seconds, self._in_flight):
            series.forget(agent_id)
        for series in (self._agent_tokens, self._agent_cost, self._late_facts):
            series.forget(agent_id)

    def also(self, readings: Callable[[], Iterable[Reading]]) -> None:
        """Shows histograms that are measured elsewhere, as they are at each scrape."""
        self._registry.register(_Elsewhere(readings))

    def expose(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics in a text format of Prometheus, and its content type. Only OpenMetrics, which
        `accept` (the header) has to ask for, shows exemplars.

        It may be called from any thread; it takes about 10 µs for each series.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def _observe(self, histogram: Histogram, seconds: float) -> None:
        ids = self.span_ids() if self.span_ids else None
        histogram.observe(seconds, dict(ids) if ids else None)


async def _nothing() -> None: ...


class _Maker:
    """Makes the metrics of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, text: str, *labels: str) -> _Series[Counter]:
        return _Series(Counter(name, text, labels, registry=self._registry))

    def seconds(self, name: str, text: str, *labels: str) -> _Series[Histogram]:
        metric = Histogram(name, text, labels, buckets=_BUCKETS, registry=self._registry)
        return _Series(metric)

    def gauge(self, name: str, text: str, *labels: str) -> _Series[Gauge]:
        return _Series(Gauge(name, text, labels, registry=self._registry))


class _Series(Generic[_Metric]):
    """The series of a metric by their labels.

    They are kept, because `labels()` of the library costs more than recording a value.
    """

    def __init__(self, metric: _Metric) -> None:
        self._metric = metric
        self._bound: dict[tuple[str, ...], _Metric] = {}

    def __call__(self, *labels: str) -> _Metric:
        bound = self._bound.get(labels)
        if bound is None:
            bound = self._metric.labels(*labels) if labels else self._metric
            self._bound[labels] = bound
        return bound

    def clear(self) -> None:
        """Removes all series."""
        self._bound.clear()
        self._metric.clear()

    def forget(self, first: str) -> None:
        """Removes the series whose first label is `first`."""
        for labels in [labels for labels in self._bound if labels[0] == first]:
            del self._bound[labels]
            self._metric.remove(*labels)


@dataclass(frozen=True)
class Exemplar:
    """One value of a bucket, and the span that it was measured in."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A series of a histogram. `buckets`: the upper bound, the count of all up to it, and an
    exemplar."""

    name: str
    text: str
    labels: Mapping[str, str]
    buckets: Sequence[tuple[float, int, Exemplar | None]]
    sum: float


class _Elsewhere(Collector):
    """Histograms that are measured elsewhere."""

    def __init__(self, readings: Callable[[], Iterable[Reading]]) -> None:
        self._readings = readings

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Nothing: what there is, is known at a scrape."""
        return iter(())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The histograms, each with all its series."""
        found: dict[str, list[Reading]] = {}
        for reading in self._readings():
            found.setdefault(reading.name, []).append(reading)
        for name, series in found.items():
            # A label that one series does not have is empty there: Prometheus takes both for equal.
            labels = sorted({label for each in series for label in each.labels})
            family = HistogramMetricFamily(name, series[0].text, labels=labels)
            for each in series:
                values = [each.labels.get(label, "") for label in labels]
                family.add_metric(values, [*map(_bucket, each.buckets)], each.sum)
            yield family


def _bucket(
    bucket: tuple[float, int, Exemplar | None],
) -> tuple[str, float] | tuple[str, float, _Exemplar]:
    bound, count, seen = bucket
    name = "+Inf" if bound == float("inf") else str(bound)
    if seen is None:
        return name, float(count)
    return name, float(count), _Exemplar(dict(seen.labels), seen.value)
