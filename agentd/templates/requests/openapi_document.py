"""An OpenAPI document, 3.0 or 3.1: its operations as tools."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from agentd.manifest.http import OpenApi
from agentd.manifest.tools import ToolEntry
from agentd.templates.requests.openapi_operation import (
    METHODS,
    DocumentOperation,
    Fixed,
    Operation,
    read_operation,
)
from agentd.templates.requests.openapi_schema import InvalidApi, References
from agentd.templates.requests.request import ORIGIN, address, mistake_in_header, plain_url
from agentd.templates.requests.request_template import RequestMistake
from agentd.templates.source import nearest
from agentd.templates.text import TextTemplate

MAX_TOOLS = 256
_LONGEST_NAME = 64
_SHOWN = 10  # names of operations, in a hint


@dataclass(frozen=True)
class Api:
    """The operations of a document, and why others are left out, by their names."""

    operations: tuple[Operation, ...]
    left_out: Mapping[str, InvalidApi]


def read_api(document: Any, entry: ToolEntry, *, url: str | None = None) -> Api:
    """The operations of a document that the entry allows.

    Args:
        document: as YAML or JSON has it.
        entry: with `openapi:`.
        url: where the document was fetched: after redirects another place than the entry names.

    Raises:
        InvalidApi: it is no such document, or has too many operations.
    """
    declared = entry.openapi
    assert declared is not None
    paths = _paths(document)
    references = References(document)
    longest = _LONGEST_NAME - (len(entry.name) + 1 if entry.name else 0)
    found = _named(_sources(paths, references), longest)
    operations: list[Operation] = []
    left_out: dict[str, InvalidApi] = {}
    for name, source in _chosen(found, entry).items():
        try:
            base = _base(document, source, declared, url)
            fixed = Fixed(base, declared.headers, declared.query)
            operations.append(read_operation(name, source, references, fixed))
        except InvalidApi as error:
            left_out[name] = error
    if not operations:
        name, reason = next(iter(left_out.items()))
        raise InvalidApi(f"has no operation that can be used: {name} {reason}", hint=reason.hint)
    return Api(tuple(operations), left_out)


def mistakes_of(entry: ToolEntry) -> Iterator[RequestMistake]:
    """What is wrong with an entry with `openapi:`, as far as its files tell."""
    declared = entry.openapi
    if declared is None:
        return
    here = ("openapi",)
    for name in declared.headers:
        if mistake := mistake_in_header(name):
            yield RequestMistake((*here, "headers", name), f"`{name}` {mistake}")
    if declared.base_url is not None:
        try:
            _origin(declared.base_url)
        except InvalidApi as error:
            yield RequestMistake((*here, "base_url"), f"`base_url` {error}", error.hint)
            return
    if declared.url is not None:
        try:
            plain_url(declared.url)
        except ValueError as error:
            yield RequestMistake((*here, "document"), f"`document` {error.args[0]}", error.args[1])
        return
    if isinstance(declared.document, str):
        return  # a file that is not there, which is told elsewhere
    try:
        api = read_api(declared.document, entry)
    except InvalidApi as error:
        yield RequestMistake((*here, "document"), f"the document {error}", error.hint)
        return
    for name, reason in api.left_out.items():
        text = f"the operation {name} is left out: it {reason}"
        yield RequestMistake((*here, "document"), text, reason.hint, severity="warning")


def _paths(document: Any) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        raise InvalidApi("is no OpenAPI document")
    version = str(document.get("openapi", ""))
    if not re.match(r"3\.[01](\.|$)", version):
        if "swagger" in document:
            raise InvalidApi("is Swagger 2.0", hint="convert it to OpenAPI 3")
        shown = f"OpenAPI {version[:20]}" if version else "no OpenAPI document"
        raise InvalidApi(f"is {shown}", hint="3.0 and 3.1 are known, named by a field `openapi`")
    paths = document.get("paths")
    if not isinstance(paths, dict) or not paths:
        raise InvalidApi("has no `paths`")
    return paths


def _sources(paths: Mapping[str, Any], references: References) -> Iterator[DocumentOperation]:
    for path, given in paths.items():
        try:
            item = references.follow(given)
        except InvalidApi:
            continue
        for method in METHODS:
            operation = item.get(method)
            if isinstance(operation, dict) and str(path).startswith("/"):
                yield DocumentOperation(method, str(path), item, operation)


def _named(sources: Iterator[DocumentOperation], longest: int) -> dict[str, DocumentOperation]:
    """Each by a name that a model can call."""
    named: dict[str, DocumentOperation] = {}
    for source in sources:
        given = source.operation.get("operationId")
        words = given if isinstance(given, str) and given else f"{source.method}_{source.path}"
        plain = re.sub(r"[^A-Za-z0-9-]+", "_", words).strip("_")[:longest] or source.method
        name, number = plain, 1
        while name in named:
            number += 1
            name = f"{plain[: longest - len(str(number)) - 1]}_{number}"
        named[name] = source
    return named


def _chosen(
    found: Mapping[str, DocumentOperation], entry: ToolEntry
) -> Mapping[str, DocumentOperation]:
    """Those that the entry allows, as long as a model can overlook them."""
    for name in (*(entry.allow or ()), *(entry.deny or ())):
        if name not in found:
            known = ", ".join(list(found)[:_SHOWN]) + ("…" if len(found) > _SHOWN else "")
            hint = nearest(name, found) or f"it has {known or 'none'}"
            raise InvalidApi(f"has no operation {name!r}", hint=hint)
    chosen = {
        name: source
        for name, source in found.items()
        if (entry.allow is None or name in entry.allow) and name not in (entry.deny or ())
    }
    if not chosen:
        raise InvalidApi("has no operations")
    if len(chosen) > MAX_TOOLS:
        text = f"has {len(chosen):,} operations; at most {MAX_TOOLS} can be tools of an agent"
        raise InvalidApi(text, hint="name those that it needs under `allow:`")
    return chosen


def _base(
    document: Mapping[str, Any], source: DocumentOperation, declared: OpenApi, url: str | None
) -> str:
    """The address below which the operation is.

    Raises:
        InvalidApi: there is none, or it is not for a fetched document to choose.
    """
    if declared.base_url is not None:
        return declared.base_url
    server = _server(source.operation) or _server(source.item) or _server(document)
    base = urljoin(url, server or "/") if url else server or ""
    if not ORIGIN.match(base):
        raise InvalidApi("has no address of its API under `servers`", hint="write `base_url:`")
    origin = _origin(base)
    # Who may change the document may not thereby choose who gets the credentials.
    secret = declared.headers or declared.query
    if declared.url and secret and origin != _origin(declared.url):
        text = f"wants {origin} to get the `headers` and `query` of the manifest"
        raise InvalidApi(text, hint=f"if that is right, write `base_url: {base}`")
    return base


def _server(part: Mapping[str, Any]) -> str | None:
    """The first of its `servers`, with the defaults of its variables."""
    servers = part.get("servers")
    first = servers[0] if isinstance(servers, list) and servers else None
    address = first.get("url") if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(address, str):
        return None
    variables = first.get("variables")
    for name, variable in variables.items() if isinstance(variables, dict) else ():
        default = variable.get("default") if isinstance(variable, dict) else None
        address = address.replace(f"{{{name}}}", str(default or ""))
    return address


def _origin(url: str) -> str:
    try:
        whole = address(TextTemplate((url,)))
    except ValueError as error:
        raise InvalidApi(f"{error.args[0]}", hint=error.args[1]) from None
    if any(pair.pieces for pair in whole.query):
        raise InvalidApi("has a query in its address", hint="it belongs under `query:`")
    return whole.origin
