"""Spans arrive over real HTTP; an exporter that fails is logged once and holds nothing up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

import pytest

from agentd.metrics import Metrics
from agentd.protocol.trace import TraceContext, entered
from agentd.telemetry import active, export
from agentd.telemetry.start import telemetry
from tests.otlp_receiver import Receiver, receiver
from tests.waiting import PATIENCE, until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")


@pytest.fixture
def site() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@asynccontextmanager
async def exporting(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Metrics]:
    """A process that exports to this address."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    metrics = Metrics()
    async with telemetry("dev", metrics):
        yield metrics


def work(count: int = 1) -> None:
    """Makes spans."""
    assert active.tracer
    for _ in range(count):
        with active.tracer.process("agents.dev.task.a.b", {}, agent="me", size=1, attempt=1):
            pass


async def test_spans_and_metrics_arrive_with_who_sent_them(
    site: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=red")
    async with exporting(site.url, monkeypatch):
        assert active.tracer
        with active.tracer.tool("look", "{}", call_id="c", description="", agent="me"):
            work()
    assert active.tracer is None
    outer, inner = sorted(site.spans, key=lambda span: span.start)
    assert (inner.parent, inner.trace, inner.kind) == (outer.id, outer.trace, "consumer")
    assert outer.end > outer.start
    assert outer.resource["service.name"] == "agentd"
    assert outer.resource["deployment.environment.name"] == "dev"
    assert outer.resource["team"] == "red"
    assert "gen_ai.execute_tool.duration" in site.metrics


async def test_text_that_utf_8_does_not_have_costs_no_other_span(
    site: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    half = "\ud800"
    async with exporting(site.url, monkeypatch):
        assert active.tracer
        with active.tracer.tool(half, half, call_id=half, description=half, agent="me") as call:
            call.answered(half, error=True)
        work()
    tool, _ = site.spans
    assert tool.attributes["gen_ai.tool.call.result"] == "?"


async def test_the_name_of_the_service_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "research")
    assert export.resource("dev").attributes["service.name"] == "research"


@pytest.mark.parametrize("status", [500, 503, 404])
async def test_an_exporter_that_is_refused_is_logged_once(
    site: Receiver,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    site.status = status
    with caplog.at_level(logging.INFO):
        async with exporting(site.url, monkeypatch):
            for before in range(3):
                work()
                await until(lambda before=before: len(site.requests) > before)
            await until(lambda: "not exported" in caplog.text)
            site.status = 200
            await until(lambda: work() or bool(site.spans))
            await until(lambda: "exported again" in caplog.text)
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if "traces are not exported" in line]) == 1
    assert len([line for line in lines if "traces are exported again" in line]) == 1
    assert len(lines) == 2, lines


async def test_an_address_where_nobody_listens_is_logged_once_and_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    monkeypatch.setattr(export, "_LAST_EXPORT", 0.2)
    with receiver() as gone:
        url = gone.url
    async with exporting(url, monkeypatch):
        work()
        await until(lambda: "traces are not exported" in caplog.text)
        work(5_000)  # more than wait in memory: the oldest are dropped, without a line for each
    assert len(caplog.records) == 1


async def test_a_receiver_that_never_answers_holds_nothing_up(
    site: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", str(10 * PATIENCE))
    monkeypatch.setattr(export, "_LAST_EXPORT", 0.2)
    site.hangs = True
    async with asyncio.timeout(PATIENCE), exporting(site.url, monkeypatch):
        work(5_000)
    assert f"what came last was not exported: no answer from {site.url}" in caplog.text


async def test_log_lines_and_durations_name_the_span(
    site: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("agentd.test")
    log.setLevel(logging.INFO)
    handler = logging.NullHandler()
    seen: list[logging.LogRecord] = []
    handler.handle = lambda record: bool(handler.filter(record) and seen.append(record))  # type: ignore[method-assign,assignment]
    logging.getLogger().addHandler(handler)
    span = TraceContext.start()
    try:
        async with exporting(site.url, monkeypatch) as metrics:
            with entered(span):
                log.info("inside")
                metrics.task("me", "success", 0.1)
            log.info("outside")
        assert not handler.filters
    finally:
        logging.getLogger().removeHandler(handler)
    inside, outside = seen
    assert (inside.trace_id, inside.span_id) == (span.trace_id, span.span_id)  # type: ignore[attr-defined]
    assert not hasattr(outside, "trace_id")
    body, _ = metrics.expose("application/openmetrics-text")
    assert f'trace_id="{span.trace_id}"' in body.decode()


def test_an_unsampled_span_is_no_exemplar() -> None:
    with entered(TraceContext("1" * 32, "2" * 16, sampled=False)):
        assert export.span_ids() is None


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("true", True), ("SPAN_ONLY", True), ("span_and_event", True), ("false", False), ("", False)],
)
def test_content_is_off_unless_a_variable_asks_for_it(value: str, wanted: bool) -> None:
    name = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    assert export.wants_content({name: value} if value else {}) is wanted
