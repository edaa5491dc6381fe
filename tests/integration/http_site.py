"""A web for tests of tools: a real server on loopback, under host names that a test chooses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from agentd.catalog.catalog import load
from agentd.catalog.spec import AgentSpec
from agentd.problems import errors
from agentd.tools.http_tool import HttpTools
from agentd.tools.openapi_tool import OpenApiTools
from agentd.tools.toolbox import ToolAnswer, Toolbox, ToolboxEntry
from agentd.tools.web.fetch import Web
from tests.integration.workshop import call

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Site:
    """The server for `api.test` and the other hosts in `names`, and the openers for tools."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.seen: list[Seen] = []
        self.looked_up: list[str] = []
        self.after_lookup: Callable[[], None] = lambda: None
        self.names: dict[str, list[str]] = {"api.test": ["127.0.0.1"]}
        self.handlers: dict[str, Handler] = {}
        self.environ: dict[str, str] = {}
        self.web = Web(self.look_up)
        self.http = HttpTools(self.web)
        self.openapi = OpenApiTools(self.web, first_delay=0.05)

    async def look_up(self, host: str, port: int) -> Sequence[str]:
        del port
        self.looked_up.append(host)
        if host not in self.names:
            raise OSError("no such name")
        found = list(self.names[host])
        self.after_lookup()
        return found

    def url(self, path: str = "/", host: str = "api.test") -> str:
        return f"http://{host}:{self.port}{path}"

    def on(self, path: str, data: Any = None, /, **response: Any) -> None:
        """Sets the answer at a path: JSON data, or the arguments of `web.Response`."""

        async def answer(request: web.Request) -> web.StreamResponse:
            del request
            return web.Response(**response) if data is None else web.json_response(data)

        self.handlers[path] = answer

    def entry(self, path: str = "/", host: str = "api.test", **fields: Any) -> dict[str, Any]:
        """An `http:` entry that may go to `api.test`, named `ask`."""
        of_tool = {k: fields.pop(k) for k in ("parameters", "timeout", "effects") if k in fields}
        http = {"url": self.url(path, host), "allow_private": ["api.test"], **fields}
        return {"name": "ask", "http": http, **of_tool}

    def spec(self, *tools: dict[str, Any], **files: Any) -> AgentSpec:
        """An agent with these entries under `tools:`, and YAML files beside its manifest."""
        catalog = self.load(*tools, **files)
        assert not errors(catalog.problems), "\n".join(p.render() for p in catalog.problems)
        return catalog.agents["one"]

    def load(self, *tools: dict[str, Any], **files: Any) -> Any:
        manifests = self.folder / "manifests"
        manifests.mkdir(exist_ok=True)
        manifest = {"capabilities": ["one"], "instructions": "Hi.", "tools": tools}
        (manifests / "one.yaml").write_text(json.dumps(manifest))
        for name, content in files.items():
            (manifests / f"{name}.yaml").write_text(json.dumps(content))
        return load(manifests, environ=self.environ)

    def open(self, *tools: dict[str, Any], **files: Any) -> Toolbox:
        spec = self.spec(*tools, **files)
        return Toolbox(
            [
                ToolboxEntry(tool, (self.http if tool.http else self.openapi).open(tool, spec))
                for tool in spec.manifest.tools
            ]
        )

    async def ask(self, tool: dict[str, Any], **arguments: Any) -> ToolAnswer:
        """The answer to a call of this one tool, as the model receives it."""
        return await call(self.open(tool), "ask", key="key-1", **arguments)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        seen = Seen(request.method, request.raw_path, dict(request.headers), body)
        self.seen.append(seen)
        handler = self.handlers.get(request.path)
        return await handler(request) if handler else web.json_response({"path": seen.target})


@asynccontextmanager
async def running(folder: Path) -> AsyncGenerator[Site]:
    """Runs a site until the block ends."""
    site = Site(folder)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", site.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        site.port = runner.addresses[0][1]
        yield site
    finally:
        await site.openapi.close()
        await site.http.close()
        await runner.cleanup()


@asynccontextmanager
async def speaking(site: Site, talk: Talk) -> AsyncGenerator[str]:
    """Runs a server that reads a request and then calls `talk`; gives its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        before, site.port = site.port, port
        yield site.url("/")
        site.port = before
