"""OpenTelemetry as its users have it: variables, processes, and a receiver of OTLP over HTTP."""

from __future__ import annotations

import json
import urllib.request

from outside import Project, eventually
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.genai_rules import broken, content_in
from tests.otlp_receiver import receiver

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "100"}
SCRIPT = [{"tool_calls": [{"name": "helper", "arguments": {"instruction": "Look."}}]}, "Done."]
BOSS = f"model: {{name: mock/script, script: {json.dumps(SCRIPT)}}}"


async def test_one_trace_across_processes(guest: Project) -> None:
    project = guest
    project.agent("boss", "tools: [{agent: helper}]", BOSS)
    project.write("other/helper.yaml", "capabilities: [helper]\ninstructions: You help.\n")
    with receiver() as site:
        variables = {**QUICK, "OTEL_EXPORTER_OTLP_ENDPOINT": site.url}
        first = project.up("manifests", "--log-format", "json", **variables)
        await eventually(lambda: "ready in" in first.err)
        second = project.up("other", **variables).ready()
        project.environ["TRACEPARENT"] = PARENT
        assert await project.ask("boss", "s3cret") == "Done.\n"
        await eventually(lambda: len(site.named("process")) == 2)
        [line] = [json.loads(each) for each in first.err.splitlines() if "answered" in each]
        assert first.stop() == second.stop() == 0

    spans = {span.id: span for span in site.spans}
    assert {span.trace for span in spans.values()} == {TRACE}
    # From the sender of the task to the model of the agent that a tool call asked.
    chain = ["chat mock/echo"]
    [span] = site.named(chain[0])
    while span := spans.get(span.parent):
        chain.append(span.name)
    env = project.environ["AGENTD_ENV"]
    assert chain == [
        "chat mock/echo",
        "invoke_agent helper",
        f"process agents.{env}.task._agent.helper.{{priority}}",
        f"send agents.{env}.task._agent.helper.{{priority}}",
        "execute_tool helper",
        "invoke_agent boss",
        f"process agents.{env}.task.boss.{{specificity}}.{{priority}}",
    ]
    [boss], [helper] = site.named("invoke_agent boss"), site.named("invoke_agent helper")
    instance = "service.instance.id"
    assert boss.resource[instance] != helper.resource[instance]
    for span in site.spans:
        assert broken(span.name, span.kind, span.attributes, failed=span.failed) == []
        assert content_in(span.attributes) == set()
    assert "s3cret" not in str(site.spans)
    assert line["trace_id"] == TRACE
    assert line["span_id"] in spans
    assert "gen_ai.client.operation.duration" in site.metrics


async def test_an_exporter_that_is_down_is_logged_once_and_costs_no_task(project: Project) -> None:
    project.agent("boss")
    with receiver() as gone:
        variables = {**QUICK, "OTEL_EXPORTER_OTLP_ENDPOINT": gone.url}
    variables |= {"OTEL_EXPORTER_OTLP_TIMEOUT": "1", "OTEL_METRICS_EXPORTER": "none"}
    daemon = project.up(**variables).ready()
    async with project.wire() as wire:
        for number in range(3):
            await wire.task("boss", f"t{number}")
            assert (await wire.result(f"t{number}")).content["success"]
        await eventually(lambda: "traces are not exported" in daemon.err)
        await wire.task("boss", "last")
        assert (await wire.result("last")).content["success"]
    exemplars = _exemplars(daemon.http)
    assert daemon.stop() == 0
    assert daemon.err.count("exported") == 1, daemon.err
    assert exemplars >= {"agent_task_duration_seconds", "gen_ai_invoke_agent_duration_seconds"}


def _exemplars(url: str) -> set[str]:
    """The metrics with a value that names a trace."""
    accept = {"Accept": "application/openmetrics-text"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/metrics", headers=accept)) as page:
        families = text_string_to_metric_families(page.read().decode())
        return {each.name for each in families if any(s.exemplar for s in each.samples)}
