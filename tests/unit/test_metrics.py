"""Prometheus reads what was recorded, and no series of removed agents."""

from __future__ import annotations

import math

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_metrics,
)
from prometheus_client.parser import text_string_to_metric_families

from agentd.metrics import Exemplar, Metrics, Reading


def read(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Samples by name and labels, as a scraper reads them."""
    body, content_type = metrics.expose()
    assert content_type.startswith("text/plain")
    families = text_string_to_metric_families(body.decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return read(metrics).get((name, frozenset(labels.items())))


def test_tasks_are_counted_and_timed() -> None:
    metrics = Metrics()
    metrics.task("analyst", "success", 0.2)
    metrics.task("analyst", "success", 40.0)
    metrics.task("analyst", "error", 0.1)

    assert value(metrics, "agent_tasks_total", agent_id="analyst", status="success") == 2
    assert value(metrics, "agent_tasks_total", agent_id="analyst", status="error") == 1
    assert value(metrics, "agent_task_duration_seconds_count", agent_id="analyst") == 3
    bucket = value(metrics, "agent_task_duration_seconds_bucket", agent_id="analyst", le="0.25")
    assert bucket == 2


def test_model_calls_are_counted_with_tokens_and_cost() -> None:
    metrics = Metrics()
    metrics.model_call("gpt", "success", 1.5, input_tokens=10, output_tokens=4, cost=0.25)
    metrics.model_call("gpt", "model_timeout", 30)

    assert value(metrics, "agentd_model_calls_total", model="gpt", status="model_timeout") == 1
    assert value(metrics, "agentd_model_call_duration_seconds_count", model="gpt") == 2
    assert value(metrics, "agentd_model_tokens_total", model="gpt", direction="input") == 10
    assert value(metrics, "agentd_model_tokens_total", model="gpt", direction="output") == 4
    assert value(metrics, "agentd_model_cost_usd_total", model="gpt") == 0.25


def test_an_unknown_cost_is_not_zero() -> None:
    metrics = Metrics()
    metrics.model_call("gpt", "success", 1.5, input_tokens=10)

    assert value(metrics, "agentd_model_cost_usd_total", model="gpt") is None


def test_impossible_numbers_of_a_provider_are_ignored() -> None:
    metrics = Metrics()
    for cost in (math.nan, math.inf, -1.0):
        metrics.model_call("gpt", "success", 1, input_tokens=-5, output_tokens=-5, cost=cost)

    assert value(metrics, "agentd_model_tokens_total", model="gpt", direction="input") == 0
    assert value(metrics, "agentd_model_cost_usd_total", model="gpt") is None


def test_what_an_agent_has_spent() -> None:
    metrics = Metrics()
    metrics.agent_spent("analyst", input_tokens=10, output_tokens=4, cost=0.25)
    metrics.agent_spent("analyst", input_tokens=1, output_tokens=0, cost=None)
    metrics.agent_spent("mock", input_tokens=1, output_tokens=1, cost=None)

    assert value(metrics, "agent_tokens_total", agent_id="analyst", direction="input") == 11
    assert value(metrics, "agent_tokens_total", agent_id="analyst", direction="output") == 4
    assert value(metrics, "agent_cost_usd_total", agent_id="analyst") == 0.25
    assert value(metrics, "agent_cost_usd_total", agent_id="mock") is None


def test_what_waits_is_unknown_until_it_was_read() -> None:
    metrics = Metrics()
    assert math.isnan(value(metrics, "agentd_dead_letters") or 0)
    metrics.waiting(approvals=2, dead_letters=3, queues={"a": (5, 1.5), "b": (0, 0.0)})

    assert value(metrics, "agentd_approvals_waiting") == 2
    assert value(metrics, "agentd_dead_letters") == 3
    assert value(metrics, "agentd_queue_depth", route="a") == 5
    assert value(metrics, "agentd_queue_age_seconds", route="a") == 1.5
    metrics.waiting(approvals=0, dead_letters=0, queues={"a": (0, 0.0)})
    assert value(metrics, "agentd_queue_depth", route="b") is None


def test_late_facts() -> None:
    metrics = Metrics()
    metrics.late_fact("joiner")

    assert value(metrics, "agentd_late_facts_total", agent_id="joiner") == 1


def test_reloads_and_tasks_in_flight() -> None:
    metrics = Metrics()
    metrics.reload("reloaded")
    metrics.reload("rejected")
    metrics.in_flight("analyst", 3)
    metrics.in_flight("analyst", 1)

    assert value(metrics, "agentd_reloads_total", outcome="reloaded") == 1
    assert value(metrics, "agentd_reloads_total", outcome="rejected") == 1
    assert value(metrics, "agentd_tasks_in_flight", agent_id="analyst") == 1


def test_limits_are_read_at_each_scrape() -> None:
    metrics, waiting = Metrics(), [3]
    metrics.endpoint("http://stub/v1", limit=lambda: 8, waiting=lambda: waiting[0])
    waiting[0] = 5
    metrics.cooldown("http://stub/v1", "retry_after")

    endpoint = {"endpoint": "http://stub/v1"}
    assert value(metrics, "agentd_model_limit", **endpoint) == 8
    assert value(metrics, "agentd_model_waiting", **endpoint) == 5
    cooldowns = "agentd_model_cooldowns_total"
    assert value(metrics, cooldowns, **endpoint, cause="retry_after") == 1


def test_a_removed_agent_leaves_no_series() -> None:
    metrics = Metrics()
    for agent in ("analyst", "researcher"):
        metrics.task(agent, "success", 1)
        metrics.in_flight(agent, 0)
    metrics.forget("analyst")
    metrics.forget("never-there")

    agents = {dict(labels).get("agent_id") for _, labels in read(metrics)} - {None}
    assert agents == {"researcher"}

    metrics.task("analyst", "success", 1)
    assert value(metrics, "agent_tasks_total", agent_id="analyst", status="success") == 1


def test_two_sets_of_metrics_do_not_share_series() -> None:
    first, second = Metrics(), Metrics()
    first.reload("reloaded")

    assert value(second, "agentd_reloads_total", outcome="reloaded") is None


def test_the_lag_of_the_audit_is_shown() -> None:
    metrics = Metrics()
    metrics.audit_lag(2.5)

    assert b"agentd_audit_lag_seconds 2.5" in metrics.expose()[0]


SPAN = {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7"}


def test_a_duration_names_the_span_that_it_was_measured_in() -> None:
    metrics = Metrics()
    metrics.span_ids = lambda: SPAN
    metrics.tool_call("look", "success", 0.2)

    body, content_type = metrics.expose("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    families = open_metrics(body.decode())
    shown = [each.exemplar for family in families for each in family.samples if each.exemplar]
    assert [(each.labels, each.value) for each in shown] == [(SPAN, 0.2)]
    # The older format has no place for it.
    assert value(metrics, "agentd_tool_call_duration_seconds_count", tool="look") == 1


def test_a_duration_outside_of_a_span_names_none() -> None:
    metrics = Metrics()
    metrics.span_ids = lambda: None
    metrics.tool_call("look", "success", 0.2)

    assert b"trace_id" not in metrics.expose("application/openmetrics-text")[0]


def test_histograms_from_elsewhere_are_read_at_each_scrape() -> None:
    metrics, readings = Metrics(), list[Reading]()
    metrics.also(lambda: readings)
    assert value(metrics, "other_seconds_count", kind="a") is None

    for labels in ({"kind": "a"}, {"kind": "a", "error": "late"}):
        buckets = [(1.0, 2, Exemplar(SPAN, 0.5)), (math.inf, 3, None)]
        readings.append(
            Reading(name="other_seconds", text="Other", labels=labels, buckets=buckets, sum=4.5)
        )
    assert value(metrics, "other_seconds_bucket", kind="a", error="", le="1.0") == 2
    assert value(metrics, "other_seconds_count", kind="a", error="late") == 3
    assert value(metrics, "other_seconds_sum", kind="a", error="") == 4.5
