"""The metrics of the GenAI conventions, and how Prometheus reads them beside ours."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from agentd.metrics import Metrics
from agentd.models.port import ChatRequest, Completion, ModelAttempt, Usage
from agentd.protocol.message import AgentIdentity, new
from tests.recorded_spans import Recording, ids

TASK = new("task", "hello", source=AgentIdentity(id="me", type="agent"))
REQUEST = ChatRequest([{"role": "user", "content": "hello"}], {}, 10.0, agent="me")


def measured() -> Recording:
    """A run with a call that fails, one that answers, and a tool."""
    found = Recording()
    completion = Completion("hi", "mock/m-1", "stop", usage=Usage(10, 4), cost=0.0)
    with found.tracer.agent("me", TASK, revision="r", model="mock/m", description=""):
        failed = ModelAttempt(model="mock/m", seconds=3.0, code="model_timeout")
        found.tracer.chat(REQUEST, failed, first_chunk=None, stream=True)
        answered = ModelAttempt(model="mock/m", seconds=0.5, completion=completion)
        found.tracer.chat(REQUEST, answered, first_chunk=0.1, stream=True)
        with found.tracer.tool("look", "{}", call_id="c", description="", agent="me") as call:
            call.answered("no such city", error=True)
    return found


def test_the_metrics_have_the_names_of_the_conventions() -> None:
    assert {name: len(series) for name, series in measured().metrics().items()} == {
        "gen_ai_client_operation_duration_seconds": 2,
        "gen_ai_client_operation_time_to_first_chunk_seconds": 1,
        "gen_ai_client_token_usage": 2,
        "gen_ai_invoke_agent_duration_seconds": 1,
        "gen_ai_execute_tool_duration_seconds": 1,
    }


def test_the_buckets_are_those_of_the_conventions() -> None:
    [tokens, _] = measured().metrics()["gen_ai_client_token_usage"]
    seconds = measured().metrics()["gen_ai_client_operation_duration_seconds"][0]
    assert [bound for bound, *_ in seconds.buckets[:3]] == [0.01, 0.02, 0.04]
    assert seconds.buckets[-2][0] == 81.92
    assert [bound for bound, *_ in tokens.buckets[:4]] == [1, 4, 16, 64]


def test_a_failure_is_told_apart_and_no_id_is_a_label() -> None:
    calls = measured().metrics()["gen_ai_client_operation_duration_seconds"]
    assert {each.labels.get("error_type") for each in calls} == {None, "model_timeout"}
    [tool] = measured().metrics()["gen_ai_execute_tool_duration_seconds"]
    assert tool.labels["error_type"] == "tool_error"
    for series in measured().metrics().values():
        assert all(TASK.id not in each.labels.values() for each in series)


def test_prometheus_reads_them_beside_ours_with_exemplars() -> None:
    found, metrics = measured(), Metrics()
    metrics.also(lambda: [each for series in found.metrics().values() for each in series])
    body, content_type = metrics.expose("application/openmetrics-text")
    assert content_type.startswith("application/openmetrics-text")
    families = {each.name: each for each in text_string_to_metric_families(body.decode())}
    assert "agent_tasks" in families
    calls = families["gen_ai_client_operation_duration_seconds"].samples
    [count] = [
        each for each in calls if each.name.endswith("_count") and each.labels["error_type"] == ""
    ]
    assert (count.value, count.labels["gen_ai_request_model"]) == (1, "mock/m")
    spans = {ids(span)[1] for span in found.all("chat")}
    shown = {each.exemplar.labels["span_id"] for each in calls if each.exemplar}
    assert shown == spans
