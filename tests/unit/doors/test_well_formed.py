"""Requests that two readers could understand differently are refused."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest

from agentd.doors.refusal import Refusal
from agentd.doors.well_formed import require_well_formed

HOST = (b"host", b"localhost")


def scope(
    raw: str = "/api/tasks", *headers: tuple[bytes, bytes], version: str = "1.1"
) -> dict[str, Any]:
    return {
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "http_version": version,
        "headers": [HOST, *headers],
    }


@pytest.mark.parametrize(
    "path", ["/", "/api/tasks", "/api/tasks/", "/hooks/gr%C3%BCn", "/a..b/.c", "/a%20b", "/a%252fb"]
)
def test_ordinary_paths_pass(path: str) -> None:
    require_well_formed(scope(path))


@pytest.mark.parametrize(
    "path",
    [
        "/api/../metrics",
        "/api/%2e%2e/metrics",
        "/api/.%2E",
        "/./healthz",
        "//healthz",
        "/api//tasks",
        "/api/tasks/a%2fb",
        "/api/tasks/a%2Fb",
        "/api/tasks/a%5cb",
        "/api\\tasks",
        "/api/tasks%00",
        "/api/tasks%0d%0aX:y",
        "/api/tasks%7f",
        "/api/%E2%80%AEtasks",
        "/api/%ff",
        "http://example.org/healthz",
        "*",
        "",
    ],
)
def test_a_path_with_two_meanings_is_refused(path: str) -> None:
    with pytest.raises(Refusal) as refused:
        require_well_formed(scope(path))
    assert (refused.value.status, refused.value.code) == (400, "malformed")


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ([HOST, (b"content-length", b"1"), (b"transfer-encoding", b"chunked")], "1.1"),
        ([HOST, (b"transfer-encoding", b"gzip, chunked")], "1.1"),
        ([HOST, (b"transfer-encoding", b"chunked")], "1.0"),
        ([HOST, (b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")], "1.1"),
        ([HOST, (b"content-length", b"1"), (b"content-length", b"1")], "1.1"),
        ([HOST, HOST], "1.1"),
        ([], "1.1"),
        ([HOST, (b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")], "1.1"),
        ([HOST, (b"origin", b"http://localhost"), (b"origin", b"http://a")], "1.1"),
        ([HOST, (b"idempotency-key", b"a"), (b"idempotency-key", b"b")], "1.1"),
    ],
)
def test_headers_with_two_meanings_are_refused(
    headers: list[tuple[bytes, bytes]], version: str
) -> None:
    with pytest.raises(Refusal) as refused:
        require_well_formed(scope() | {"headers": headers, "http_version": version})
    assert (refused.value.status, refused.value.code) == (400, "malformed")


def test_headers_that_may_repeat_and_old_clients_pass() -> None:
    require_well_formed(scope("/", (b"accept", b"a"), (b"accept", b"b"), (b"cookie", b"")))
    require_well_formed(scope("/", (b"transfer-encoding", b"Chunked")))
    require_well_formed(scope() | {"headers": [], "http_version": "1.0"})
