"""The variables of OpenTelemetry decide what is exported, and where to."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from agentd.telemetry.variables import address, wants

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


def test_the_address_of_a_signal_comes_before_that_of_all() -> None:
    own = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:8/v1/traces"}
    assert address("traces", {**HERE, **own}) == "http://127.0.0.1:8/v1/traces"
    assert address("metrics", {**HERE, **own}) == "http://127.0.0.1:9"
    assert address("traces", {}) == "http://localhost:4318"
