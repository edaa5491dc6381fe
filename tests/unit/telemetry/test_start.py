"""OpenTelemetry is on where the usual variables ask for it, and nowhere else."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Mapping

import pytest

from agentd.metrics import Metrics
from agentd.telemetry import active
from agentd.telemetry.start import telemetry, wants

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
HERE = {ENDPOINT: "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("environ", "traces", "metrics"),
    [
        ({}, False, False),
        ({ENDPOINT: " "}, False, False),
        (HERE, True, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"}, True, False),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:9/v1/metrics"}, False, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True, False),
        ({"OTEL_TRACES_EXPORTER": "console, OTLP"}, True, False),
        ({**HERE, "OTEL_TRACES_EXPORTER": "none"}, False, True),
        ({**HERE, "OTEL_METRICS_EXPORTER": "none"}, True, False),
        ({**HERE, "OTEL_SDK_DISABLED": "True"}, False, False),
        ({**HERE, "OTEL_SDK_DISABLED": "false"}, True, True),
        ({"OTEL_SERVICE_NAME": "mine", "OTEL_RESOURCE_ATTRIBUTES": "a=b"}, False, False),
        ({**HERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True, True),
        ({**HERE, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, False, True),
    ],
)
def test_the_variables_decide(environ: Mapping[str, str], traces: bool, metrics: bool) -> None:
    assert (wants("traces", environ), wants("metrics", environ)) == (traces, metrics)


def test_a_protocol_that_agentd_does_not_speak_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert not wants("traces", {**HERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    assert "'grpc'" in caplog.text


async def test_without_the_variables_there_is_no_tracer() -> None:
    metrics = Metrics()
    async with telemetry("dev", metrics, {}):
        assert active.tracer is None
        assert metrics.span_ids is None


def test_without_the_variables_the_sdk_is_not_imported() -> None:
    program = (
        "import asyncio, sys\n"
        "from agentd.metrics import Metrics\n"
        "from agentd.runtime import host\n"
        "async def main():\n"
        "    async with host.telemetry('dev', Metrics(), {}):\n"
        "        print([m for m in sys.modules if m.startswith('opentelemetry.')])\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


async def test_a_mistake_in_a_variable_costs_the_traces_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    with caplog.at_level(logging.ERROR):
        async with telemetry("dev", Metrics(), HERE):
            assert active.tracer is None
    assert "nothing is exported to OpenTelemetry" in caplog.text
