"""`http:`: a request whose values a model fills in; and `RequestTool`, which sends any request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agentd.catalog.spec import AgentSpec
from agentd.manifest import tools as manifest_tools
from agentd.manifest.yaml.nodes import flow_style
from agentd.problems import Problem
from agentd.templates.requests.json_path import JsonPath, parse_path
from agentd.templates.requests.request import BadRequest, HttpRequest
from agentd.templates.requests.request_template import compile_request
from agentd.tools.answers import answer_of
from agentd.tools.port import Call, Tool, ToolError
from agentd.tools.secrets import Secrets, secrets_of
from agentd.tools.web.addresses import Reach
from agentd.tools.web.fetch import FetchError, Web


class Maker(Protocol):
    """Makes the requests of one tool."""

    def request(self, arguments: Mapping[str, Any], key: str) -> HttpRequest:
        """The request for these arguments.

        Raises:
            BadRequest: they do not make a valid request.
        """
        ...


@dataclass(frozen=True)
class RequestTool:
    """A tool that sends one request for each call; see `agentd.tools.port.Tool`."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    takes_key: bool
    maker: Maker = field(repr=False)
    web: Web = field(repr=False)
    reach: Reach
    secrets: Secrets = field(repr=False)
    pick: JsonPath | None = None

    async def call(self, call: Call) -> Any:
        """The answer of the server, or the part of it that the manifest picks, without secrets.

        Raises:
            ToolError: the arguments make no valid request, there was no answer, or an error.
        """
        try:
            request = self.maker.request(call.arguments, call.key)
            reply = await self.web.fetch(request, self.reach)
            return answer_of(reply, self.secrets, self.pick)
        except (BadRequest, FetchError, ToolError) as error:
            # The text may quote the address or the answer, and these may contain secrets.
            final = isinstance(error, BadRequest) or getattr(error, "final", False)
            raise ToolError(self.secrets.hide(str(error)), final=final) from None


@dataclass(frozen=True)
class HttpSource:
    """Tools that never go away; see `agentd.tools.port.ToolSource`."""

    tools: tuple[Tool, ...]
    trouble: str = ""


class HttpTools:
    """All `http:` tools of this process."""

    def __init__(self, web: Web) -> None:
        self._web = web

    def open(self, entry: manifest_tools.ToolEntry, spec: AgentSpec) -> HttpSource:
        """The tool of an entry. It opens no connection."""
        declared = entry.http
        assert declared is not None
        template = compile_request(entry)
        index = place_of(entry, spec)
        origin = template.address.origin
        secrets = secrets_of(spec, index, headers=declared.headers, origins=[origin])
        shown, *_ = declared.url.split("?")
        tool = RequestTool(
            name=entry.own_name,
            description=secrets.hide(f"{declared.method} {shown}"),
            parameters=template.schema,
            takes_key=template.takes_key,
            maker=template,
            web=self._web,
            reach=Reach.of(declared.allow_private),
            secrets=secrets,
            pick=parse_path(declared.pick) if declared.pick else None,
        )
        return HttpSource((tool,))

    async def check(self, spec: AgentSpec) -> list[Problem]:
        """The addresses to which no call may connect."""
        return [
            problem
            for index, declared in enumerate(spec.manifest.tools)
            if (http := declared.http)
            for problem in unreachable(spec, (index, "http", "url"), http.url, http.allow_private)
        ]

    async def close(self) -> None:
        """Closes all connections."""
        await self._web.close()


def unreachable(
    spec: AgentSpec, loc: tuple[str | int, ...], url: str, allow_private: Any
) -> Iterator[Problem]:
    """The problem of a URL with an address to which a tool may not connect.

    Args:
        loc: the place of the URL, below `tools`.
    """
    # A name is not resolved: it can stand for another address when the tool is called.
    if host := Reach.of(allow_private).refused(url):
        text = f"{host} is not a public address, so every call would be refused"
        hint = f"if it is right, add `allow_private: {flow_style([host])}`"
        yield spec.problem("tools", *loc, text=text, hint=hint)


def place_of(entry: manifest_tools.ToolEntry, spec: AgentSpec) -> int:
    """The index of an entry under `tools:`."""
    return next(index for index, each in enumerate(spec.manifest.tools) if each is entry)
