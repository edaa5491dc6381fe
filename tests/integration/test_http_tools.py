"""`http:` tools against a real server that works, attacks or fails."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.manifest.json_schema.check import value_error
from tests.integration.http_site import Site, running, speaking
from tests.integration.workshop import call

if TYPE_CHECKING:
    from tests.integration.conftest import Team

MB = 1_000_000


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running(tmp_path) as site:
        yield site


# --- what is asked, and what comes back


async def test_the_arguments_fill_in_the_request(site: Site) -> None:
    site.on("/orders/a b", {"data": {"items": [{"id": 7}, {"id": 8}]}})
    site.environ["TOKEN"] = "s3cret-token"

    answer = await site.ask(
        site.entry(
            "/orders/{{ shop }}?day={{ day }}",
            method="POST",
            headers={
                "Authorization": "Bearer ${TOKEN}",
                "Idempotency-Key": "{{ idempotency_key }}",
            },
            body={"what": "{{ what }}", "count": 2},
            pick="data.items[*].id",
        ),
        shop="a b",
        day="1&admin=1",
        what='"quoted"',
    )

    assert answer.text == "[7, 8]"
    (seen,) = site.seen
    assert (seen.method, seen.target) == ("POST", "/orders/a%20b?day=1%26admin%3D1")
    assert seen.headers["Authorization"] == "Bearer s3cret-token"
    assert seen.headers["Idempotency-Key"] == "key-1"
    assert json.loads(seen.body) == {"what": '"quoted"', "count": 2}


async def test_the_schema_for_the_model_has_no_secrets(site: Site) -> None:
    site.environ["TOKEN"] = "s3cret-token"
    entry = site.entry("/bot${TOKEN}/weather/{{ city }}?key=${TOKEN}")
    del entry["name"]

    (held,) = site.open(entry).tools.values()

    assert held.name == "weather"
    assert "s3cret" not in json.dumps(held.schema)
    assert held.schema["function"]["parameters"]["required"] == ["city"]
    assert not held.tool.takes_key


@pytest.mark.parametrize(
    ("response", "text"),
    [
        ({"text": "plain ü"}, "plain ü"),
        ({"body": b"\xfc", "headers": {"Content-Type": "text/a; charset=latin-1"}}, "ü"),
        ({"text": '{"a": [1]}', "content_type": "application/json"}, '{"a": [1]}'),
        ({"text": '{"a": ', "content_type": "application/vnd.x+json"}, '{"a": '),
        ({"text": "<p>hi</p>", "content_type": "text/html"}, "<p>hi</p>"),
        ({"body": b"\x89P", "content_type": "a/b"}, "the answer is not text: a/b, 2 bytes"),
        ({"status": 204}, "done: 204 No Content"),
        ({"body": b"a\xff", "headers": {"Content-Type": "text/plain; charset=zip"}}, "a\ufffd"),
    ],
)  # fmt: skip
async def test_an_answer_is_data_text_or_described(
    site: Site, response: dict[str, Any], text: str
) -> None:
    site.on("/", **response)

    answer = await site.ask(site.entry())

    assert (answer.text, answer.error) == (text, False)


async def test_a_compressed_answer_is_unpacked(site: Site) -> None:
    packed = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    site.on("/", body=gzip.compress(b'{"a": 1}'), headers=packed)

    assert (await site.ask(site.entry(pick="a"))).text == "1"


async def test_an_error_response_is_an_error_with_the_start_of_its_body(site: Site) -> None:
    site.on("/", text="no such city " + "x" * 9000, status=404)

    answer = await site.ask(site.entry())

    assert answer.error
    assert answer.text.startswith("api.test answered 404 Not Found: no such city xxx")
    assert len(answer.text) < 2100


@pytest.mark.parametrize(
    ("pick", "words"),
    [
        ("data.x", "the answer has nothing at `data.x`: `data` has no 'x'; it has 'y'"),
        ("data.y", "null"),
    ],
)
async def test_pick_gives_a_part_or_an_error(site: Site, pick: str, words: str) -> None:
    site.on("/", {"data": {"y": None}})

    assert (await site.ask(site.entry(pick=pick))).text == words


async def test_pick_needs_json(site: Site) -> None:
    site.on("/", text="<html>", content_type="text/html")

    answer = await site.ask(site.entry(pick="a"))

    assert answer.error
    assert answer.text.startswith("the answer of api.test is not valid JSON: ")


async def test_only_the_server_gets_secrets(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    site.environ |= {"TOKEN": "s3cret/token", "USER_KEY": "other-key-42"}

    async def echo(request: web.Request) -> web.Response:
        status = int(request.query["status"])
        seen = {"headers": dict(request.headers), "url": str(request.url), "s3cret/token": 1}
        filler = {"filler": "x" * 1980} if status == 400 else {}
        return web.json_response(filler | seen, status=status)

    site.handlers["/"] = echo
    for status in ("200", "400", "500"):
        answer = await site.ask(
            site.entry(
                "/?key=${USER_KEY}&status={{ status }}",
                headers={"Authorization": "Basic ${TOKEN}", "X-Literal-Key": "written-in-file"},
            ),
            status=status,
        )
        for secret in ("s3cret", "other-key-42", "written-in-file"):
            assert secret not in answer.text
        assert "[secret]" in answer.text or status == "400"
    assert site.seen[-1].headers["Authorization"] == "Basic s3cret/token"
    assert site.seen[-1].headers["X-Literal-Key"] == "written-in-file"
    assert "s3cret" not in caplog.text


# --- what is refused before the server hears of it


SCHEMA = {
    "properties": {
        "city": {"type": "string", "minLength": 2, "pattern": "^[A-Za-z ]+$"},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
    },
    "required": ["city"],
}
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
argument_sets = st.dictionaries(st.sampled_from(["city", "days", "extra"]) | st.text(), anything)


def test_arguments_that_do_not_fit_are_not_sent(tmp_path: Path) -> None:
    refused = 0

    @settings(max_examples=250, deadline=None, database=None)
    @given(argument_sets)
    def run(arguments: dict[str, Any]) -> None:
        nonlocal refused
        if loop.run_until_complete(value_error(arguments, site.schema)):
            refused += 1
            answer = loop.run_until_complete(call(site.toolbox, "ask", **_named(arguments)))
            assert answer.error
            assert answer.text.startswith("the arguments of ask do not fit its schema: ")

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        site = _Strict(tmp_path, runner)
        run()
        assert refused >= 200
        assert site.site.seen == []
        assert not loop.run_until_complete(call(site.toolbox, "ask", city="Bonn", days=2)).error
        assert len(site.site.seen) == 1
        site.close(runner)


class _Strict:
    """A site with one tool, in its own event loop: hypothesis only calls sync functions."""

    def __init__(self, folder: Path, runner: asyncio.Runner) -> None:
        self._running = running(folder)
        self.site = runner.run(self._running.__aenter__())
        entry = self.site.entry("/{{ city }}?d={{ days }}", parameters=SCHEMA)
        self.toolbox = self.site.open(entry)
        self.schema = self.toolbox.tools["ask"].tool.parameters

    def close(self, runner: asyncio.Runner) -> None:
        runner.run(self._running.__aexit__(None, None, None))


def _named(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments whose names `call` does not use itself."""
    return {name: v for name, v in arguments.items() if name not in ("name", "timeout", "key")}


# --- addresses


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost.test", "[::1]", "169.254.169.254", "10.0.0.1", "0.0.0.0", "[::]",
     "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f000001", "mixed.test", "mapped.test"],
)  # fmt: skip
async def test_addresses_that_are_not_public_are_refused(site: Site, host: str) -> None:
    site.names |= {
        "localhost.test": ["127.0.0.1"],
        "mixed.test": ["93.184.216.34", "127.0.0.1"],
        "mapped.test": ["::ffff:127.0.0.1"],
        "0x7f000001": ["127.0.0.1"],
    }

    answer = await site.ask(site.entry(host=host, allow_private=False))

    assert answer.error
    assert "is not a public address" in answer.text or "neither a host name nor" in answer.text
    assert site.seen == []


@pytest.mark.parametrize(
    ("allow", "host"),
    [(True, "127.0.0.1"), (True, "api.test"), (["127.0.0.0/8"], "127.0.0.1"),
     (["127.0.0.0/8"], "api.test"), ("api.test", "api.test"), (["127.0.0.1"], "127.0.0.1")],
)  # fmt: skip
async def test_a_manifest_can_allow_private_addresses(site: Site, allow: Any, host: str) -> None:
    answer = await site.ask(site.entry("/x", host=host, allow_private=allow))

    assert json.loads(answer.text) == {"path": "/x"}


async def test_an_address_allowed_to_one_tool_is_refused_to_another(site: Site) -> None:
    """Not even an open connection is reused."""
    assert not (await site.ask(site.entry())).error

    answer = await site.ask(site.entry(allow_private=False))

    assert answer.text == (
        "api.test (127.0.0.1) is not a public address, so the tool may not connect to it"
    )
    assert len(site.seen) == 1


async def test_a_name_is_resolved_once_and_that_address_is_used(site: Site) -> None:
    """The name has another address each time it is resolved: the second one is never used."""
    site.names["rebind.test"] = ["127.0.0.1"]
    inward = {"rebind.test": ["169.254.169.254"]}
    site.after_lookup = lambda: site.names.update(inward)

    answer = await site.ask(site.entry("/x", host="rebind.test", allow_private=["127.0.0.0/8"]))

    assert json.loads(answer.text) == {"path": "/x"}
    assert site.looked_up == ["rebind.test"]


async def test_a_name_whose_address_becomes_private_is_refused(site: Site) -> None:
    """Its address is public for the first connection and private for the next."""
    site.names["rebind.test"] = ["127.0.0.1"]
    site.on("/", status=200, headers={"Connection": "close"})
    entry = site.entry(host="rebind.test", allow_private=["127.0.0.1"])
    assert not (await site.ask(entry)).error
    site.names["rebind.test"] = ["127.0.0.2"]

    answer = await site.ask(entry)

    assert "rebind.test (127.0.0.2) is not a public address" in answer.text


async def test_a_proxy_in_the_environment_is_not_used(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert not (await site.ask(site.entry())).error


# --- redirects


def redirect(site: Site, path: str, target: str, status: int = 302) -> None:
    site.on(path, status=status, headers={"Location": target}, text="moved")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("http://127.0.0.1:{port}/x", "127.0.0.1 is not a public address"),
        ("http://169.254.169.254/latest/meta-data", "169.254.169.254 is not a public address"),
        ("http://[::ffff:a9fe:a9fe]/", "is not a public address"),
        ("//inner.test/x", "inner.test (10.0.0.9) is not a public address"),
        ("http://2130706433/", "neither a host name nor an address"),
        ("file:///etc/passwd", "redirects to an address that is not valid"),
        ("gopher://api.test/", "redirects to an address that is not http or https"),
        ("http://[broken", "redirects to an address that is not valid"),
        ("http://nowhere.test/", "there is no host nowhere.test"),
    ],
)
async def test_the_target_of_a_redirect_is_checked(site: Site, target: str, words: str) -> None:
    site.names["inner.test"] = ["10.0.0.9"]
    redirect(site, "/", target.replace("{port}", str(site.port)))

    answer = await site.ask(site.entry())

    assert answer.error
    assert words in answer.text
    assert len(site.seen) == 1


async def test_a_loop_of_redirects_ends(site: Site) -> None:
    redirect(site, "/a", "/b")
    redirect(site, "/b", "/a")

    assert (await site.ask(site.entry("/a"))).text == "api.test redirects more than 5 times"
    assert len(site.seen) == 6


async def test_credentials_are_not_sent_to_another_origin(site: Site) -> None:
    site.names["other.test"] = ["127.0.0.1"]
    redirect(site, "/same", "/x")
    redirect(site, "/cross", site.url("/x", "other.test"))
    headers = {
        "Authorization": "Bearer abcdefgh",
        "Cookie": "a=b",
        "X-Api-Key": "k",
        "Accept": "a/b",
    }
    allowed = ["api.test", "other.test"]

    assert not (await site.ask(site.entry("/same", headers=headers))).error
    assert {**site.seen[-1].headers, **headers} == site.seen[-1].headers
    assert not (await site.ask(site.entry("/cross", headers=headers, allow_private=allowed))).error
    sent = site.seen[-1].headers
    assert sent["Accept"] == "a/b"
    assert {"Authorization", "Cookie", "X-Api-Key"} & sent.keys() == set()


@pytest.mark.parametrize(
    ("status", "method", "body"),
    [
        (301, "GET", b""),
        (302, "GET", b""),
        (303, "GET", b""),
        (307, "POST", b"[1]"),
        (308, "POST", b"[1]"),
    ],
)
async def test_a_redirect_changes_the_method_as_browsers_do(
    site: Site, status: int, method: str, body: bytes
) -> None:
    redirect(site, "/", "/x", status)

    assert not (await site.ask(site.entry(method="POST", body=[1]))).error

    assert (site.seen[1].method, site.seen[1].body) == (method, body)


async def test_a_redirect_does_not_send_the_body_to_another_host(site: Site) -> None:
    redirect(site, "/", site.url("/x", "other.test"), 307)

    answer = await site.ask(site.entry(method="POST", body=[1]))

    assert answer.text == "api.test redirects a POST to other.test"


# --- broken and hostile servers


async def test_a_server_that_hangs_is_a_timeout(site: Site) -> None:
    hung_up = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del writer
        assert await reader.read() == b""
        hung_up.set()

    async with speaking(site, hang):
        answer = await call(site.open(site.entry()), "ask", timeout=0.2)
        assert answer.text == "ask gave no answer within 0.2 s and was cancelled"
        async with asyncio.timeout(20):
            await hung_up.wait()


async def test_a_server_that_sends_slowly_is_a_timeout(site: Site) -> None:
    hung_up = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        try:
            while not reader.at_eof():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        finally:
            hung_up.set()

    async with speaking(site, drip):
        answer = await call(site.open(site.entry()), "ask", timeout=0.3)
        assert answer.text == "ask gave no answer within 0.3 s and was cancelled"
        async with asyncio.timeout(20):
            await hung_up.wait()


async def test_only_the_start_of_a_huge_answer_is_read(site: Site) -> None:
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        del reader
        size = 100 * MB
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % size
        )
        while sent < size:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with speaking(site, pour):
        entry = site.entry()
        answer = await site.ask(entry)
        assert answer.text.endswith("[cut: the whole answer has 1,000,028 characters]")
        picked = await site.ask({**entry, "http": {**entry["http"], "pick": "a"}})
        assert picked.text == "the answer of api.test has more than 1,000,000 bytes; ask for less"
    assert sent < 50 * MB


async def test_a_compression_bomb_is_unpacked_only_up_to_the_limit(site: Site) -> None:
    bomb = gzip.compress(bytes(50 * MB), 9)
    site.on("/", body=bomb, headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"})

    assert "[cut: " in (await site.ask(site.entry())).text


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"\x16\x03\x01garbage\r\n\r\n", "api.test does not speak HTTP"),
        (b"", "api.test closed the connection without an answer"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
            "the answer of api.test is not complete",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nx", "api.test does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnot gzip", "compressed answer that is"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\nx", "answered in the encoding 'br'"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", "api.test does not speak HTTP"),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "api.test answered 302 Found"),
    ],
)
async def test_an_invalid_answer_is_an_error(site: Site, sent: bytes, words: str) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        writer.write(sent)
        await writer.drain()

    async with speaking(site, say):
        answer = await site.ask(site.entry())

    assert answer.error
    assert words in answer.text


async def test_a_host_without_a_server_is_an_error(site: Site) -> None:
    async with speaking(site, lambda *_: asyncio.sleep(0)) as url:
        gone = site.entry()
    gone["http"]["url"] = url

    assert (await site.ask(gone)).text.startswith("no connection to api.test: ")
    missing = site.entry(host="gone.test")
    assert (await site.ask(missing)).text == "there is no host gone.test: no such name"


# --- with an agent around it


async def test_an_agent_calls_an_http_tool(site: Site, team: Team) -> None:
    site.on("/weather/Bonn", {"now": {"temp": 21}})
    team.openers["http"] = site.http
    await team.run(
        weather=f"""
        capabilities: [weather]
        tools:
          - http:
              url: {site.url("/weather/")}{{{{ city }}}}
              allow_private: [api.test]
              pick: now.temp
        model:
          name: mock/script
          script:
            - tool_calls: [{{name: weather, arguments: {{city: Bonn}}}}]
            - It is warm.
        """
    )

    assert (await team.ask("weather", "How warm is it?"))["data"] == "It is warm."
    assert [seen.target for seen in site.seen] == ["/weather/Bonn"]
