"""OpenTelemetry is on where the usual variables ask for it, and nowhere else."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from agentd.metrics import Metrics
from agentd.telemetry import active
from agentd.telemetry.start import telemetry

HERE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


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
