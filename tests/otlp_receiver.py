"""A receiver of OTLP over HTTP, on loopback, for what a process exports.

It can refuse, and it can leave its clients without an answer.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
_FAILED = 2


@dataclass(frozen=True, kw_only=True)
class Received:
    """A span, as it arrived; ids in hexadecimal digits."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    start: int
    end: int
    links: tuple[str, ...]
    failed: bool
    status: str
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]


@dataclass
class Receiver:
    """What has arrived. `status` is the answer to all requests; while `hangs`, there is none."""

    url: str = ""
    status: int = 200
    spans: list[Received] = field(default_factory=list[Received])
    metrics: set[str] = field(default_factory=set[str])
    requests: list[str] = field(default_factory=list[str])
    hangs: bool = False
    released: Event = field(default_factory=Event)

    def named(self, beginning: str) -> list[Received]:
        """The spans whose names begin so."""
        return [span for span in self.spans if span.name.startswith(beginning)]

    def take(self, path: str, body: bytes) -> None:
        """Adds what a request has brought."""
        self.requests.append(path)
        if path == "/v1/traces":
            self.spans += _spans(ExportTraceServiceRequest.FromString(body))
        if path == "/v1/metrics":
            self.metrics |= _metrics(ExportMetricsServiceRequest.FromString(body))


@contextmanager
def receiver(**settings: Any) -> Generator[Receiver]:
    """A receiver on a free port."""
    made = Receiver(**settings)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if made.hangs:
                made.released.wait()
            if made.status == 200:
                made.take(self.path, body)
            else:
                made.requests.append(self.path)
            self.send_response(made.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _spans(request: ExportTraceServiceRequest) -> Iterator[Received]:
    for each in request.resource_spans:
        resource = _attributes(each.resource.attributes)
        for scope in each.scope_spans:
            for span in scope.spans:
                yield Received(
                    name=span.name,
                    kind=_KINDS[span.kind],
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    start=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    links=tuple(link.span_id.hex() for link in span.links),
                    failed=span.status.code == _FAILED,
                    status=span.status.message,
                    attributes=_attributes(span.attributes),
                    resource=resource,
                )


def _metrics(request: ExportMetricsServiceRequest) -> set[str]:
    return {
        metric.name
        for each in request.resource_metrics
        for scope in each.scope_metrics
        for metric in scope.metrics
    }


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    found = getattr(value, kind)
    return [_value(each) for each in found.values] if kind == "array_value" else found
