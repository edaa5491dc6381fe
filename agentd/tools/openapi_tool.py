"""`openapi:`: the operations of an OpenAPI document as tools. A document may be at a URL."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakSet, WeakValueDictionary, ref

from agentd.catalog.spec import AgentSpec
from agentd.errors import DecodeError
from agentd.manifest import tools
from agentd.manifest.yaml import reader as yaml_source
from agentd.manifest.yaml.nodes import plain
from agentd.problems import Problem
from agentd.protocol.strict_json import MAX_BYTES, parse
from agentd.templates.requests.openapi_document import Api, read_api
from agentd.templates.requests.openapi_schema import InvalidApi
from agentd.templates.requests.request import HttpRequest, plain_url
from agentd.tools.http_tool import HttpSource, RequestTool, place_of, unreachable
from agentd.tools.port import Tool, ToolSource
from agentd.tools.secrets import secrets_of
from agentd.tools.web.addresses import Reach
from agentd.tools.web.fetch import FetchError, HttpReply, Web

log = logging.getLogger(__name__)

FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0  # seconds between two attempts to fetch a document
_TIMEOUT = 30.0  # seconds for one attempt
_ACCEPT = {"Accept": "application/json, application/yaml;q=0.9, */*;q=0.5"}

MakeTools = Callable[[Any, str | None], tuple[Tool, ...]]


class OpenApiTools:
    """All `openapi:` tools of this process."""

    def __init__(self, web: Web, *, first_delay: float = FIRST_DELAY) -> None:
        self._web = web
        self._first_delay = first_delay
        # A document is kept while a toolbox uses it. After an edit of the manifest the new toolbox
        # finds it here and does not fetch it again.
        self._documents: WeakValueDictionary[tuple[str, Reach], _Document] = WeakValueDictionary()
        self._fetching: set[asyncio.Task[None]] = set()

    async def check(self, spec: AgentSpec) -> list[Problem]:
        """The addresses to which no call may connect."""
        return [
            problem
            for index, entry in enumerate(spec.manifest.tools)
            if (declared := entry.openapi)
            for field, url in (("document", declared.url), ("base_url", declared.base_url))
            for problem in unreachable(
                spec, (index, "openapi", field), url or "", declared.allow_private
            )
        ]

    def open(self, entry: tools.ToolEntry, spec: AgentSpec) -> ToolSource:
        """The tools of an entry. Those of a document at a URL appear when it has been fetched."""
        declared = entry.openapi
        assert declared is not None
        reach = Reach.of(declared.allow_private)
        addresses = filter(None, (declared.url, declared.base_url))
        index = place_of(entry, spec)
        secrets = secrets_of(spec, index, headers=declared.headers, origins=addresses)

        def make(document: Any, url: str | None) -> tuple[Tool, ...]:
            api = read_api(document, entry, url=url)
            if url:
                _log_left_out(api, url, spec.name)
            return tuple(
                RequestTool(
                    name=each.name,
                    description=each.description,
                    parameters=each.schema,
                    takes_key=False,
                    maker=each,
                    web=self._web,
                    reach=reach,
                    secrets=secrets,
                )
                for each in api.operations
            )

        if declared.url is None:
            return HttpSource(make(declared.document, None))
        return _FetchedTools(self._document(plain_url(declared.url), reach), make)

    async def close(self) -> None:
        """Stops fetching."""
        for task in self._fetching:
            task.cancel()
        await asyncio.gather(*self._fetching, return_exceptions=True)
        await self._web.close()

    def _document(self, url: str, reach: Reach) -> _Document:
        document = self._documents.get((url, reach))
        if document is None:
            document = self._documents[url, reach] = _Document(url)
            task = asyncio.create_task(self._fetch(url, reach, ref(document)))
            self._fetching.add(task)
            task.add_done_callback(self._fetching.discard)
        return document

    async def _fetch(self, url: str, reach: Reach, wanted: ref[_Document]) -> None:
        """Tries until it has the document, or until no toolbox needs it any more."""
        delay = self._first_delay
        while True:
            try:
                async with asyncio.timeout(_TIMEOUT):
                    reply = await self._web.fetch(
                        HttpRequest("GET", url, _ACCEPT), reach, most=MAX_BYTES
                    )
                content = await asyncio.to_thread(_read, reply)
            except (FetchError, InvalidApi, TimeoutError) as error:
                trouble = str(error) or f"no answer within {_TIMEOUT:g} s"
                if not _note_trouble(wanted(), trouble):
                    return
            else:
                if document := wanted():
                    await document.arrive(content, reply.url)
                return
            # Random, so that replicas that started together do not ask together.
            await asyncio.sleep(delay * random.uniform(0.5, 1))
            delay = min(2 * delay, LONGEST_DELAY)


class _Document:
    """A document at a URL. `trouble` says why it is not there yet."""

    def __init__(self, url: str) -> None:
        self.url, *_ = url.split("?")  # for texts: a query may hold a key
        self.trouble = f"{self.url} is being fetched"
        self.content: tuple[Any, str] | None = None
        self._readers: WeakSet[_FetchedTools] = WeakSet()

    def add(self, reader: _FetchedTools) -> None:
        """Gives the content to `reader`, now or when it arrives."""
        self._readers.add(reader)
        if self.content is not None:
            reader.read(*self.content)

    async def arrive(self, content: Any, url: str) -> None:
        """Takes the content and gives it to all readers; `url` is where it was after redirects."""
        self.content = content, url
        for reader in list(self._readers):
            # A large document takes seconds to become tools.
            await asyncio.to_thread(reader.read, content, url)


class _FetchedTools:
    """The tools of an entry with a document at a URL; see `agentd.tools.port.ToolSource`."""

    def __init__(self, document: _Document, make: MakeTools) -> None:
        self._document = document
        self._make = make
        self._trouble: str | None = None
        self.tools: Sequence[Tool] = ()
        document.add(self)

    @property
    def trouble(self) -> str:
        return self._document.trouble if self._trouble is None else self._trouble

    def read(self, content: Any, url: str) -> None:
        """Makes the tools from the document."""
        try:
            self.tools = self._make(content, url)
            self._trouble = ""
        except InvalidApi as error:
            self._trouble = f"{self._document.url} {error}"
            log.warning("%s: %s", self._trouble, error.hint or "its tools are missing")


def _read(reply: HttpReply) -> Any:
    """The document in a response.

    Raises:
        InvalidApi: the response has none.
    """
    if reply.status != 200:
        raise InvalidApi(f"answered {reply.status} {reply.reason}".strip())
    if not reply.whole:
        raise InvalidApi(f"has more than {MAX_BYTES:,} bytes")
    document = _parsed(reply)
    # A proxy may answer 200 with a text that the server is down.
    if not isinstance(document, dict) or not {"openapi", "swagger"} & document.keys():
        raise InvalidApi("is not an OpenAPI document")
    return document


def _parsed(reply: HttpReply) -> Any:
    if reply.body.lstrip().startswith(b"{"):
        try:
            return parse(reply.body)
        except DecodeError as error:
            raise InvalidApi(f"is {error}") from None
    document = yaml_source.read(reply.body, reply.url)
    if document.problems:
        raise InvalidApi(f"is not valid YAML: {document.problems[0].text}")
    return plain(document.root) if document.root else None


def _note_trouble(document: _Document | None, trouble: str) -> bool:
    """Stores and logs why a document is not there; False if no toolbox needs it any more."""
    if document is None:
        return False
    text = f"{document.url}: {trouble}"
    if text != document.trouble:
        log.warning("an OpenAPI document cannot be fetched yet: %s", text)
    document.trouble = text
    return True


def _log_left_out(api: Api, url: str, agent: str) -> None:
    for name, reason in api.left_out.items():
        log.warning("%s: %s is left out: it %s", url, name, reason, extra={"agent": agent})
