"""The files of the page: what they weigh, what they are served with, and what is kept of others."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import cast

import pytest
from starlette.applications import Starlette
from starlette.types import Message

from agentd.doors.backend import Backend
from agentd.doors.page.door import STATIC, files, routes
from agentd.doors.refusal import Refusal

SVG = "http://www.w3.org/2000/svg"
MOST = 250_000  # bytes, compressed


async def get(path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """The status, the headers and the body that one request is answered with."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": path, "headers": given, "query_string": b""}
    app = Starlette(routes=routes(cast("Backend", None)))
    await app.router(scope, receive, send)
    named = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], named, b"".join(each.get("body", b"") for each in sent[1:])


def test_the_page_is_small() -> None:
    sizes = {name: len(each.compressed) for name, each in files().items()}
    assert {"index.html", "app.js", "page.css", "vendor/cytoscape.js"} <= sizes.keys()
    assert sum(sizes.values()) <= MOST, sizes


async def test_nothing_is_served_that_another_place_could_run() -> None:
    status, headers, body = await get("/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert headers["x-content-type-options"] == "nosniff"
    rules = dict(
        cast("tuple[str, str]", each.split(" ", 1))
        for each in headers["content-security-policy"].split("; ")
    )
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["connect-src"] == rules["style-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    assert rules["trusted-types"] == "'none'"
    assert b"<script>" not in body
    assert not re.search(rb"\son\w+=|style=", body)


async def test_a_file_is_compressed_where_a_client_can_read_it() -> None:
    _, plain, body = await get("/page/app.js")
    assert plain["content-type"] == "text/javascript; charset=utf-8"
    assert body == (STATIC / "app.js").read_bytes()
    _, headers, packed = await get("/page/app.js", accept_encoding="gzip, br")
    assert headers["content-encoding"] == "gzip"
    assert len(packed) < len(body)


async def test_a_file_that_a_client_has_is_not_sent_again() -> None:
    _, headers, _ = await get("/page/app.js")
    status, again, body = await get("/page/app.js", if_none_match=headers["etag"])
    assert (status, body, again["etag"]) == (304, b"", headers["etag"])


@pytest.mark.parametrize("name", ["nosuch.js", "../door.py", "vendor/README.md", "vendor", ""])
async def test_only_files_of_the_page_are_served(name: str) -> None:
    with pytest.raises(Refusal, match="the page has no file"):
        await get(f"/page/{name}")


def test_nothing_of_the_page_names_another_machine() -> None:
    own = [path for path in STATIC.rglob("*") if path.is_file() and "vendor" not in path.parts]
    texts = {path.name: path.read_text() for path in own}
    links = {name: set(re.findall(r"https?://[^\s\"'`)]+", text)) for name, text in texts.items()}
    # The name of a language, which nothing asks for.
    assert {name: found for name, found in links.items() if found - {SVG}} == {}


def test_texts_become_elements_in_one_way() -> None:
    """`h` of dom.js makes text nodes. No other way from a text to the page is used."""
    ways = r"(inner|outer)HTML|insertAdjacent|document\.write|DOMParser|eval\(|srcdoc|Fragment\("
    own = [path for path in STATIC.rglob("*.js") if "vendor" not in path.parts]
    assert own
    assert [path.name for path in own if re.search(ways, path.read_text())] == []


def test_what_others_have_written_has_its_licence() -> None:
    table = (STATIC / "vendor" / "README.md").read_text()
    for path in (STATIC / "vendor").iterdir():
        if path.suffix in (".js", ".css"):
            assert f"`{path.name}`" in table
            assert path.with_suffix(".LICENSE").is_file()


def test_nothing_of_the_page_is_loaded_before_the_first_request() -> None:
    code = "import sys, agentd.runtime.host; print([n for n in sys.modules if 'doors.page' in n])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
