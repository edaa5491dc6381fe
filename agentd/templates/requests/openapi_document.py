"""OpenAPI documents, version 3.0 or 3.1: their operations become tools."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from agentd.manifest.http import OpenApi
from agentd.manifest.tools import ToolEntry
from agentd.problems import did_you_mean
from agentd.templates.requests.openapi_operation import (
    METHODS,
    DocumentOperation,
    Fixed,
    Operation,
    read_operation,
)
from agentd.templates.requests.openapi_schema import InvalidApi, References
from agentd.templates.requests.request import ORIGIN, address, header_problem, plain_url
from agentd.templates.requests.request_template import RequestProblem
from agentd.templates.text import TextTemplate

MAX_TOOLS = 256
_LONGEST_NAME = 64  # model providers accept no longer names of tools
_SHOWN = 10  # names of operations in a hint


@dataclass(frozen=True)
class Api:
    """The operations of a document.

    Attributes:
        operations: those that can be tools.
        left_out: the reasons why the others cannot, by the names of the operations.
    """

    operations: tuple[Operation, ...]
    left_out: Mapping[str, InvalidApi]


def read_api(document: Any, entry: ToolEntry, *, url: str | None = None) -> Api:
    """The operations of a document that the tool entry allows.

    Args:
        document: the parsed YAML or JSON.
        entry: a tool entry with `openapi:`.
        url: the URL from which the document was fetched. After redirects this is not the URL in
            the entry. None for a file.

    Raises:
        InvalidApi: it is not an OpenAPI document, or has no or too many usable operations.
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
        # One bad operation does not disable the others: documents of real services often have one.
        except InvalidApi as error:
            left_out[name] = error
    if not operations:
        name, reason = next(iter(left_out.items()))
        raise InvalidApi(f"has no usable operation: {name} {reason}", hint=reason.hint)
    return Api(tuple(operations), left_out)


def problems_of(entry: ToolEntry) -> Iterator[RequestProblem]:
    """The problems of an entry with `openapi:` that can be found without fetching a document."""
    declared = entry.openapi
    if declared is None:
        return
    here = ("openapi",)
    for name in declared.headers:
        if problem := header_problem(name):
            yield RequestProblem((*here, "headers", name), f"`{name}` {problem}")
    if declared.base_url is not None:
        try:
            _origin(declared.base_url)
        except InvalidApi as error:
            yield RequestProblem((*here, "base_url"), f"`base_url` {error}", error.hint)
            return
    if declared.url is not None:
        try:
            plain_url(declared.url)
        except ValueError as error:
            yield RequestProblem((*here, "document"), f"`document` {error.args[0]}", error.args[1])
        return
    if isinstance(declared.document, str):
        return  # still a name: the file does not exist, which the catalog reports
    try:
        api = read_api(declared.document, entry)
    except InvalidApi as error:
        yield RequestProblem((*here, "document"), f"the document {error}", error.hint)
        return
    for name, reason in api.left_out.items():
        # A warning, because the author of the manifest often cannot change the document.
        text = f"the operation {name} is left out: it {reason}"
        yield RequestProblem((*here, "document"), text, reason.hint, severity="warning")


def _paths(document: Any) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        raise InvalidApi("is not an OpenAPI document")
    # As a text: YAML reads an unquoted 3.1 as a number.
    version = str(document.get("openapi", ""))
    if not re.match(r"3\.[01](\.|$)", version):
        if "swagger" in document:
            raise InvalidApi("is Swagger 2.0", hint="convert it to OpenAPI 3")
        shown = f"OpenAPI {version[:20]}" if version else "not an OpenAPI document"
        hint = "the field `openapi` must name version 3.0 or 3.1"
        raise InvalidApi(f"is {shown}", hint=hint)
    paths = document.get("paths")
    if not isinstance(paths, dict) or not paths:
        raise InvalidApi("has no `paths`")
    return paths


def _sources(paths: Mapping[str, Any], references: References) -> Iterator[DocumentOperation]:
    """All operations of the document; paths that cannot be read are skipped."""
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
    """The operations by unique names that a model can call.

    Providers accept letters, digits, `_` and `-`. An operation without `operationId` is named after
    its method and path.
    """
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
    """The operations that the entry allows.

    Raises:
        InvalidApi: the entry names an operation that does not exist, or it allows none, or more
            than `MAX_TOOLS`: a model cannot choose well among too many tools.
    """
    for name in (*(entry.allow or ()), *(entry.deny or ())):
        if name not in found:
            known = ", ".join(list(found)[:_SHOWN]) + ("…" if len(found) > _SHOWN else "")
            hint = did_you_mean(name, found) or f"the operations are {known or '(none)'}"
            raise InvalidApi(f"has no operation `{name}`", hint=hint)
    chosen = {
        name: source
        for name, source in found.items()
        if (entry.allow is None or name in entry.allow) and name not in (entry.deny or ())
    }
    if not chosen:
        raise InvalidApi("has no operations")
    if len(chosen) > MAX_TOOLS:
        text = f"has {len(chosen):,} operations; an agent can have at most {MAX_TOOLS} as tools"
        raise InvalidApi(text, hint="list the operations that it needs under `allow:`")
    return chosen


def _base(
    document: Mapping[str, Any], source: DocumentOperation, declared: OpenApi, url: str | None
) -> str:
    """The base URL of the operation.

    Raises:
        InvalidApi: the document has none, or a fetched document names another host and the
            manifest has credentials.
    """
    if declared.base_url is not None:
        return declared.base_url
    # The most specific `servers` applies (OpenAPI: operation, then path, then document).
    server = _server(source.operation) or _server(source.item) or _server(document)
    base = urljoin(url, server or "/") if url else server or ""
    if not ORIGIN.match(base):
        raise InvalidApi("has no URL of its API under `servers`", hint="write `base_url:`")
    origin = _origin(base)
    # Else someone who can change the document could have the manifest's credentials sent to
    # a host of their own.
    secret = declared.headers or declared.query
    if declared.url and secret and origin != _origin(declared.url):
        text = f"would send the `headers` and `query` of the manifest to {origin}"
        raise InvalidApi(text, hint=f"if that is intended, write `base_url: {base}`")
    return base


def _server(part: Mapping[str, Any]) -> str | None:
    """The URL of the first entry in `servers`, with the defaults of its variables; else None."""
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
    """Scheme, host and port of a base URL.

    Raises:
        InvalidApi: it is not a URL, or it has a query.
    """
    try:
        whole = address(TextTemplate((url,)))
    except ValueError as error:
        raise InvalidApi(f"{error.args[0]}", hint=error.args[1]) from None
    if any(pair.pieces for pair in whole.query):
        raise InvalidApi("has a query in its URL", hint="write the query under `query:`")
    return whole.origin
