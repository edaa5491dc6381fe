"""Spans of real runs: who is whose parent, what failed, and what may be seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentd.errors import ModelError
from agentd.models.port import Completion, ToolCall, Usage
from agentd.nats.streams import LOG
from agentd.protocol import trace
from agentd.protocol.trace import TraceContext
from tests.genai_rules import content_in
from tests.recorded_spans import ids, parent, recorded, said
from tests.unit.workbench import MANIFEST, FakeTool, ScriptedModel, Workbench, calls, revision_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=1"}
TOOLS = f"{MANIFEST}\ntools: [{{agent: look}}]"
EMITTING = f"{MANIFEST}\nemit: [{{event: review.done}}, {{task: summary.general}}]"


async def test_a_task_is_one_trace_from_its_sender_to_its_result(tmp_path: Path) -> None:
    model = ScriptedModel(calls("look"), "done")
    bench = Workbench(revision_of(tmp_path, TOOLS, model, tools=[FakeTool("look")]))
    with recorded() as found:
        await bench.handle(bench.delivery(headers=PARENT))
    process = found.one("process")
    run, tool = found.one("invoke_agent me"), found.one("execute_tool look")
    assert {ids(span)[0] for span in found.spans} == {TRACE}
    assert parent(process) == SPAN
    assert parent(run) == ids(process)[1]
    assert parent(tool) == ids(run)[1]
    assert {parent(span) for span in found.all("chat")} == {ids(run)[1]}
    result = found.one("create agents.dev.result")
    [stored] = bench.bus.streams[LOG].on("agents.dev.result.>")
    assert stored.headers["traceparent"] == f"00-{TRACE}-{ids(result)[1]}-01"
    assert stored.headers["tracestate"] == "vendor=1"
    assert parent(result) == ids(process)[1]
    assert said(process)["messaging.message.id"] == bench.delivery().task_id
    assert found.broken() == []


async def test_a_task_without_a_trace_begins_one(tmp_path: Path) -> None:
    bench = Workbench(revision_of(tmp_path, MANIFEST))
    with recorded() as found:
        await bench.handle()
    assert parent(found.one("process")) == ""
    assert len({ids(span)[0] for span in found.spans}) == 1


async def test_what_is_emitted_has_spans_of_its_own(tmp_path: Path) -> None:
    bench = Workbench(revision_of(tmp_path, EMITTING))
    await bench.online("writer", "summary")
    with recorded() as found:
        await bench.handle(bench.delivery(headers=PARENT))
    for kind in ("event.review.done", "task.summary.general.>"):
        [stored] = bench.bus.streams[LOG].on(f"agents.dev.{kind}")
        beginning = f"create agents.dev.{kind.split('.')[0]}"
        assert stored.headers["traceparent"].split("-")[2] == ids(found.one(beginning))[1]


async def test_an_unsampled_trace_stays_so(tmp_path: Path) -> None:
    bench = Workbench(revision_of(tmp_path, MANIFEST))
    with recorded() as found:
        await bench.handle(bench.delivery(headers={"traceparent": f"00-{TRACE}-{SPAN}-00"}))
    assert found.spans == ()
    [stored] = bench.bus.streams[LOG].on("agents.dev.result.>")
    assert stored.headers["traceparent"].startswith(f"00-{TRACE}-")
    assert stored.headers["traceparent"].endswith("-00")
    assert bench.result()["success"]
    # The metrics count it nevertheless.
    assert "gen_ai_client_operation_duration_seconds" in found.metrics()


async def test_a_failure_is_marked_from_the_model_to_the_delivery(tmp_path: Path) -> None:
    model = ScriptedModel(ModelError("quoted: s3cret", code="model_refused"))
    bench = Workbench(revision_of(tmp_path, MANIFEST, model))
    with recorded() as found:
        await bench.handle()
    for beginning in ("chat", "invoke_agent", "process"):
        span = found.one(beginning)
        assert said(span)["error.type"] == "model_refused"
        assert not span.status.is_ok
    assert "s3cret" not in str([span.to_json() for span in found.spans])
    assert found.broken() == []


async def test_an_attempt_that_is_followed_by_another_has_failed(tmp_path: Path) -> None:
    model = ScriptedModel(ModelError("busy", code="model_overloaded", retryable=True))
    bench = Workbench(revision_of(tmp_path, MANIFEST, model))
    with recorded() as found:
        await bench.handle()
    span = found.one("process")
    assert said(span)["error.type"] == "model_overloaded"
    assert said(span)["agentd.task.attempt"] == 1


async def test_a_tool_that_fails_is_marked(tmp_path: Path) -> None:
    model = ScriptedModel(calls("look", "unheard"), "done")
    tool = FakeTool("look", {"not": "text"})
    bench = Workbench(revision_of(tmp_path, TOOLS, model, tools=[tool]))
    with recorded() as found:
        await bench.handle()
    assert found.one("execute_tool look").status.is_unset
    # A name that a model invents must not become the name of a span.
    assert said(found.one("execute_tool unknown"))["error.type"] == "tool_error"
    assert found.broken() == []


async def secretive(folder: Path) -> Workbench:
    """An agent whose prompt, task, tool and answer have the word `s3cret`."""
    call = ToolCall("c1", "look", json.dumps({"for": "s3cret"}))
    asked = Completion("", "mock/m", "tool_calls", (call,), usage=Usage(1, 2), cost=0.0)
    model = ScriptedModel(asked, "the s3cret")
    manifest = TOOLS.replace("Hi.", "s3cret")
    return Workbench(revision_of(folder, manifest, model, tools=[FakeTool("look", "s3cret")]))


async def test_content_is_exported_only_when_asked_for(tmp_path: Path) -> None:
    bench = await secretive(tmp_path)
    with recorded() as found:
        await bench.handle(bench.delivery({"payload": {"content": "s3cret"}}))
    assert "s3cret" not in str([span.to_json() for span in found.spans])
    assert [span.name for span in found.spans if content_in(said(span))] == []


async def test_content_is_on_every_span_that_has_some(tmp_path: Path) -> None:
    bench = await secretive(tmp_path)
    with recorded(content=True) as found:
        await bench.handle(bench.delivery({"payload": {"content": "s3cret"}}))
    for beginning in ("chat", "invoke_agent", "execute_tool"):
        for span in found.all(beginning):
            texts = [value for value in said(span).values() if "s3cret" in str(value)]
            assert len(texts) >= 2, span.name
    assert "gen_ai.input.messages" in said(found.one("invoke_agent"))
    assert "gen_ai.output.messages" in said(found.one("invoke_agent"))
    assert found.broken() == []


async def test_a_span_that_cannot_be_made_costs_no_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a bug")

    from agentd.telemetry import content, spans

    for name in ("agent", "agent_end", "chat", "tool", "sent", "process", "identity"):
        monkeypatch.setattr(spans, name, failing)
    for name in ("asked", "answered", "input_of", "output_of"):
        monkeypatch.setattr(content, name, failing)
    bench = Workbench(revision_of(tmp_path, EMITTING))
    await bench.online("writer", "summary")
    with recorded(content=True):
        await bench.handle(bench.delivery(headers=PARENT))
    assert bench.result()["success"]


async def test_the_current_span_is_seen_by_our_code_and_by_opentelemetry() -> None:
    from opentelemetry.trace import get_current_span

    with recorded() as found:
        with found.tracer.process("agents.dev.task.a.b", {}, agent="me", size=1, attempt=1):
            here = trace.current()
            assert here
            theirs = get_current_span().get_span_context()
            assert here.span_id == f"{theirs.span_id:016x}"
        assert trace.current() is None


def test_a_message_that_follows_from_others_has_links_to_all() -> None:
    facts = [TraceContext.start(), TraceContext.start()]
    with recorded() as found:
        headers = found.tracer.created("agents.dev.task._agent.me.5", "c", links=facts)
    span = found.one("create")
    assert [f"{link.context.span_id:016x}" for link in span.links] == [f.span_id for f in facts]
    assert parent(span) == facts[0].span_id
    assert headers["traceparent"].split("-")[1] == facts[0].trace_id
