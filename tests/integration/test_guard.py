"""Who comes in, over real sockets: hosts, origins, keys, and requests with two meanings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from serving import Answer, Wire, serving
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agentd.doors.backend import Backend
from agentd.doors.caller import Caller
from agentd.doors.key_file import KeyFile
from agentd.errors import BusError

OPEN = "0.0.0.0:0"  # an address that others can reach


def door(_: Backend) -> Sequence[Route]:
    """Says who calls; needs the right to ask for POST, and agent `a` for /api/a."""

    async def who(request: Request) -> Response:
        caller: Caller = request.state.caller
        if request.method == "POST":
            caller.require("ask")
        return JSONResponse({"caller": caller.name})

    async def decide(request: Request) -> Response:
        request.state.caller.require("operate")
        return JSONResponse({})

    async def hook(request: Request) -> Response:
        if refusal := getattr(request.state, "stranger", None):
            raise refusal  # as a webhook without a signature does
        return await who(request)

    async def agent(request: Request) -> Response:
        request.state.caller.require("read", agent=request.path_params["name"])
        return JSONResponse({})

    async def broken(_: Request) -> Response:
        raise ZeroDivisionError("a secret of the process")

    async def away(_: Request) -> Response:
        raise BusError("no connection")

    return [
        Route("/api/who", who, methods=["GET", "POST"]),
        Route("/api/agents/{name}", agent),
        Route("/api/decide", decide, methods=["POST"]),
        Route("/page/{name}", who),
        Route("/", who),
        Route("/hooks/{name}", hook, methods=["POST"]),
        Route("/api/broken", broken),
        Route("/api/away", away),
    ]


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


def problem(answer: Answer) -> tuple[int, str]:
    """The status and the code of a refusal; its form is checked."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == answer.status
    assert answer.json["detail"]
    return answer.status, answer.json["code"]


def bearer(key: str) -> str:
    return f"Authorization: Bearer {key}"


async def test_on_loopback_without_keys_everything_is_open_to_this_machine() -> None:
    async with serving(doors=[door]) as server, Wire.to(server) as wire:
        for key in ((), ("Authorization: Bearer any",), ("Authorization: Basic eA==",)):
            answer = await wire.ask("POST /api/who", *key)
            assert (answer.status, answer.json) == (200, {"caller": "local"})


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:3000", 200),
        ("http://127.0.0.1:8000", 200),
        ("http://[::1]:8000", 200),
        ("https://example.org", 403),
        ("http://localhost.example.org", 403),
        ("http://localhost@example.org", 403),
        ("http://127.0.0.1.example.org", 403),
        ("null", 403),
        ("http://[", 403),
        ("file://", 403),
        ("", 403),
    ],
)
@pytest.mark.parametrize("line", ["POST /api/who", "GET /readyz", "OPTIONS /api/who"])
async def test_a_page_of_another_machine_is_refused(line: str, origin: str, status: int) -> None:
    async with serving(doors=[door]) as server, Wire.to(server) as wire:
        answer = await wire.ask(line, f"Origin: {origin}")
        assert (answer.status == 403) is (status == 403)
        if status == 403:
            assert problem(answer) == (403, "foreign_origin")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 200),  # a program
        (["Origin: http://localhost:8000"], 200),
        (["Origin: http://localhost:3000"], 403),
        (["Origin: http://127.0.0.1:8000"], 403),
        (["Sec-Fetch-Site: none"], 200),
        (["Sec-Fetch-Site: same-site"], 403),
        (["Sec-Fetch-Site: cross-site"], 403),
        (["Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"], 403),
        # A proxy with a name of its own, which says `Host: localhost` to us.
        (["Sec-Fetch-Site: same-origin", "Origin: https://agents.example.org"], 200),
    ],
)
@pytest.mark.parametrize("bind", [OPEN, "127.0.0.1:0"])
async def test_only_our_own_page_decides(
    bind: str, headers: list[str], status: int, keys: KeyFile
) -> None:
    key = keys.add("ops", ["operate"])
    async with serving(bind, doors=[door], keys=keys.path) as server, Wire.to(server) as wire:
        line = "POST /api/decide"
        answer = await wire.ask(line, bearer(key), *headers, host="localhost:8000")
        assert answer.status == status
        if status == 403:
            assert problem(answer) == (403, "foreign_origin")


@pytest.mark.parametrize("bind", [OPEN, "127.0.0.1:0"])
async def test_the_files_of_the_page_need_no_key(bind: str, keys: KeyFile) -> None:
    keys.add("ops", ["operate"])
    async with serving(bind, doors=[door], keys=keys.path) as server, Wire.to(server) as wire:
        for path in ("/", "/page/app.js"):
            assert (await wire.ask(f"GET {path}")).json == {"caller": "page"}
            assert problem(await wire.ask(f"POST {path}")) == (401, "unauthorized")
        assert problem(await wire.ask("GET /pages")) == (401, "unauthorized")


async def test_a_foreign_host_is_refused_even_with_a_key(keys: KeyFile) -> None:
    key = keys.add("ci", ["ask"])
    async with serving(doors=[door], keys=keys.path) as server, Wire.to(server) as wire:
        answer = await wire.ask("GET /api/who", bearer(key), host="rebound.example.org")
        assert problem(answer) == (421, "wrong_host")


async def test_an_address_that_others_reach_has_only_health_without_keys() -> None:
    async with serving(OPEN, doors=[door]) as server, Wire.to(server) as wire:
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await wire.ask(f"GET {path}", host="agentd.example.org")).status == 200
        for line in ("GET /api/who", "POST /api/who", "POST /hooks/github", "GET /nosuch"):
            answer = await wire.ask(line, "Authorization: Bearer any")
            assert problem(answer) == (401, "unauthorized")
            assert "agentd keys add" in answer.json["detail"]


@pytest.mark.parametrize("bind", [OPEN, "127.0.0.1:0"])
async def test_with_keys_every_request_needs_one(bind: str, keys: KeyFile) -> None:
    key = keys.add("ci", ["ask", "read"])
    async with serving(bind, doors=[door], keys=keys.path) as server, Wire.to(server) as wire:
        answer = await wire.ask("POST /api/who", bearer(key))
        assert (answer.status, answer.json) == (200, {"caller": "ci"})
        assert (await wire.ask("GET /healthz")).status == 200
        for header, says in (
            ("X-Nothing: x", "a key is missing"),
            ("Authorization: Bearer", "must be `Bearer KEY`"),
            ("Authorization: Bearer ", "must be `Bearer KEY`"),
            (f"Authorization: Basic {key}", "must be `Bearer KEY`"),
            (f"Authorization: {key}", "must be `Bearer KEY`"),
            (bearer(key[:-1]), "unknown"),
            (bearer("x" * 10_000), "unknown"),
            (bearer("\xff\xfe"), "unknown"),
            (f"X-Api-Key: {key}", "a key is missing"),
        ):
            answer = await wire.ask("POST /api/who", header)
            assert problem(answer) == (401, "unauthorized")
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert says in answer.json["detail"]
            assert key not in answer.json["detail"]


async def test_keys_come_and_go_while_the_process_runs(keys: KeyFile) -> None:
    async with serving(OPEN, doors=[door], keys=keys.path) as server, Wire.to(server) as wire:
        assert (await wire.ask("GET /api/who")).status == 401
        key = keys.add("ci", ["read"])
        assert (await wire.ask("GET /api/who", bearer(key))).json == {"caller": "ci"}
        keys.revoke("ci")
        assert (await wire.ask("GET /api/who", bearer(key))).status == 401


async def test_an_expired_key_is_refused(keys: KeyFile) -> None:
    key = keys.add("old", ["ask"], expires=time.time() - 2)
    async with serving(doors=[door], keys=keys.path) as server, Wire.to(server) as wire:
        answer = await wire.ask("GET /api/who", bearer(key))
        assert problem(answer) == (401, "unauthorized")
        assert "expired" in answer.json["detail"]


async def test_a_key_of_another_scope_is_refused_with_what_is_missing(keys: KeyFile) -> None:
    reader = keys.add("reader", ["read"], agents=["a"])
    async with serving(doors=[door], keys=keys.path) as server, Wire.to(server) as wire:
        answer = await wire.ask("POST /api/who", bearer(reader))
        assert problem(answer) == (403, "forbidden")
        assert "'reader' may not ask: its key allows read" in answer.json["detail"]
        assert (await wire.ask("GET /api/agents/a", bearer(reader))).status == 200
        answer = await wire.ask("GET /api/agents/b", bearer(reader))
        assert problem(answer) == (403, "forbidden")
        assert "its key is for a" in answer.json["detail"]


async def test_a_webhook_comes_in_without_a_key_and_may_nothing(keys: KeyFile) -> None:
    key = keys.add("ci", ["ask"])
    async with serving(OPEN, doors=[door], keys=keys.path) as server, Wire.to(server) as wire:
        for header in ("X-Nothing: x", bearer(key)):
            answer = await wire.ask("POST /hooks/github", header)
            assert problem(answer) == (403, "forbidden")
        for line in ("POST /hooks", "POST /Hooks/github", "POST /hooks/../api/who"):
            assert (await wire.ask(line)).status in (401, 400)


@pytest.mark.parametrize(
    "target",
    [
        "/api/../api/who",
        "/healthz/../api/who",
        "/healthz/..%2fapi/who",
        "/%2e%2e/api/who",
        "//api/who",
        "/api%2fwho",
        "/api%5cwho",
        "/api/who%00",
        "/api/who%ff",
        "http://localhost/api/who",
        "*",
        "api/who",
    ],
)
async def test_a_path_with_two_meanings_is_refused(target: str) -> None:
    async with serving(doors=[door]) as server, Wire.to(server) as wire:
        assert problem(await wire.ask(f"GET {target}")) == (400, "malformed")


@pytest.mark.parametrize("target", ["/api/who/", "/API/who", "/api/wh%6F%20", "/api/gr%C3%BCn"])
async def test_a_path_that_is_not_there_is_a_problem_too(target: str) -> None:
    async with serving(doors=[door]) as server, Wire.to(server) as wire:
        assert problem(await wire.ask(f"GET {target}")) == (404, "not_found")


async def test_a_host_that_is_no_host_does_no_harm_where_others_reach(keys: KeyFile) -> None:
    key = keys.add("ci", ["ask"])
    async with serving(OPEN, doors=[door], keys=keys.path) as server, Wire.to(server) as wire:
        for host in ("[x", "a b", "[::1]:99999", "", "a/b?c#d@e"):
            answer = await wire.ask("GET /api/nosuch", bearer(key), host=host)
            assert problem(answer) == (404, "not_found")


async def test_a_method_that_is_not_there_says_which_are() -> None:
    async with serving(doors=[door]) as server, Wire.to(server) as wire:
        answer = await wire.ask("DELETE /api/who")
        assert problem(answer) == (405, "method_not_allowed")
        assert "POST" in answer.headers["allow"]


async def test_an_error_of_agentd_is_a_problem_and_a_bug_says_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(doors=[door]) as server, Wire.to(server) as wire:
        answer = await wire.ask("GET /api/away")
        assert problem(answer) == (503, "unavailable")
        assert answer.headers["retry-after"]
        answer = await wire.ask("GET /api/broken")
        assert problem(answer) == (500, "internal")
        assert "secret" not in answer.json["detail"]
    assert "a secret of the process" in caplog.text


SMUGGLED = "GET /api/who HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: 4", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 4"],
        ["Content-Length: 4", "Content-Length: 5"],
        ["Content-Length: 4, 5"],
        ["Content-Length: +4"],
        ["Content-Length: -1"],
        ["Content-Length : 4"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["Transfer-Encoding : chunked"],
        [" Transfer-Encoding: chunked"],
        ["X: a\r\n Transfer-Encoding: chunked"],
        ["X: a\nTransfer-Encoding: chunked"],
        ["X: a\rTransfer-Encoding: chunked"],
        ["X: a\0b"],
        ["Host: localhost"],
        [": empty"],
    ],
)
async def test_a_smuggled_request_is_not_served(headers: list[str]) -> None:
    async with serving(doors=[door]) as server, Wire.to(server) as wire:
        head = "\r\n".join(["POST /api/who HTTP/1.1", "Host: localhost", *headers, "", ""])
        wire.writer.write(f"{head}0\r\n\r\n{SMUGGLED}".encode())
        assert (await wire.answer()).status == 400
        assert b" 200 " not in await wire.reader.read()


async def test_a_trailer_is_no_header(keys: KeyFile) -> None:
    key = keys.add("ci", ["ask"])
    async with serving(doors=[door], keys=keys.path) as server, Wire.to(server) as wire:
        wire.writer.write(
            "POST /api/who HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            f"0\r\n{bearer(key)}\r\n\r\n".encode()
        )
        assert problem(await wire.answer()) == (401, "unauthorized")


async def test_a_request_without_a_host_is_refused() -> None:
    async with serving(doors=[door]) as server, Wire.to(server) as wire:
        assert (await wire.ask("GET /api/who", host=None)).status == 400
