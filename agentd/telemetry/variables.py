"""The variables of OpenTelemetry, as far as agentd reads them itself.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

log = logging.getLogger(__name__)

_DEFAULT = "http://localhost:4318"  # of OpenTelemetry


def wants(signal: str, environ: Mapping[str, str]) -> bool:
    """Whether `traces` or `metrics` are to be exported over OTLP/HTTP."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = _list(environ, f"OTEL_{signal.upper()}_EXPORTER")
    if "otlp" not in exporters and (exporters or not _setting("ENDPOINT", signal, environ)):
        return False
    protocol = _setting("PROTOCOL", signal, environ)
    if protocol and protocol != "http/protobuf":
        text = "no %s are exported: OTEL_EXPORTER_OTLP_PROTOCOL is %r; agentd exports http/protobuf"
        log.error(text, signal, protocol)
        return False
    return True


def _list(environ: Mapping[str, str], name: str) -> list[str]:
    return [each for part in environ.get(name, "").split(",") if (each := part.strip().lower())]


def address(signal: str, environ: Mapping[str, str]) -> str:
    """Where `traces` or `metrics` go, for people."""
    return _setting("ENDPOINT", signal, environ) or _DEFAULT


def _setting(name: str, signal: str, environ: Mapping[str, str]) -> str:
    """A setting of the exporter: that of the signal, or else that of all."""
    own = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}", "").strip()
    return own or environ.get(f"OTEL_EXPORTER_OTLP_{name}", "").strip()
