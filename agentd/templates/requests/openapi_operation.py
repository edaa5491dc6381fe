"""Operations of an OpenAPI document: the schema of their arguments, and their requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentd.templates.bounds import BoundExceeded
from agentd.templates.expression import compile_expression
from agentd.templates.requests.openapi_parameter import Parameter, read_parameters
from agentd.templates.requests.openapi_schema import InvalidApi, References, Schemas
from agentd.templates.requests.request import (
    FORM,
    Address,
    BadRequest,
    HttpRequest,
    address,
    as_bad_request,
    encoded,
    header,
    header_problem,
    with_body,
)
from agentd.templates.text import Piece, TextTemplate

METHODS = ("get", "post", "put", "patch", "delete")
MAX_PARAMETERS = 100  # of one operation: a model reads all of them with every request
MAX_DESCRIPTION = 1_000  # characters

_JSON = re.compile(r"application/(json|[\w.+-]+\+json)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Fixed:
    """The base URL, headers and query of the manifest, which a model cannot change.

    Headers and query often hold credentials, so `repr` does not show them.
    """

    base: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    query: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    def has(self, parameter: Parameter) -> bool:
        """Whether the manifest sets this parameter. Then the model cannot set it."""
        if parameter.place == "header":
            return parameter.name.lower() in {name.lower() for name in self.headers}
        return parameter.place == "query" and parameter.name in self.query


@dataclass(frozen=True)
class DocumentOperation:
    """An operation as in the document; `item` is its path item, shared by all methods of a path."""

    method: str
    path: str
    item: Mapping[str, Any]
    operation: Mapping[str, Any]


@dataclass(frozen=True)
class RequestBody:
    """The body of a request: the name of the argument that holds it, and its media type."""

    argument: str
    content_type: str


@dataclass(frozen=True)
class Operation:
    """An operation as a tool: what the model reads of it, and how its requests are made.

    Attributes:
        schema: the JSON Schema of the arguments.
        parameters: by the names of their arguments.
        address: the URL; its expressions are the names of path parameters, changed by `_plain`.
    """

    name: str
    description: str
    schema: Mapping[str, Any]
    method: str
    address: Address
    parameters: Mapping[str, Parameter]
    body: RequestBody | None
    fixed: Fixed

    def request(self, arguments: Mapping[str, Any], key: str) -> HttpRequest:
        """The request for `arguments`, which fit `schema`. The key is not used: OpenAPI has none.

        Raises:
            BadRequest: no request can be made with these arguments.
        """
        given = [
            (each, arguments[name])
            for name, each in self.parameters.items()
            if arguments.get(name) is not None
        ]
        try:
            path = {_plain(e.name): e.simple(value) for e, value in given if e.place == "path"}
            query = [pair for e, value in given if e.place == "query" for pair in e.pairs(value)]
            url = self.address.url(path, (*query, *self.fixed.query.items()))
            content = arguments.get(self.body.argument) if self.body else None
            return with_body(self.method.upper(), url, self._headers(given, content), content)
        except BoundExceeded as error:
            raise as_bad_request(error) from None
        except (RecursionError, ValueError) as error:  # from `json.dumps` of a parameter
            raise BadRequest(f"an argument cannot be sent: {error}") from None

    def _headers(self, given: Iterable[tuple[Parameter, Any]], content: Any) -> dict[str, str]:
        # JSON is preferred, but an API that gives only text or another type must not answer 406.
        headers = {"Accept": "application/json, text/*;q=0.9, */*;q=0.5"}
        if self.body and content is not None:
            headers["Content-Type"] = self.body.content_type
        headers |= {e.name: header(e.name, e.simple(v)) for e, v in given if e.place == "header"}
        cookies = [f"{e.name}={encoded(e.simple(v))}" for e, v in given if e.place == "cookie"]
        if cookies:
            headers["Cookie"] = "; ".join(cookies)
        # The headers of the manifest come last, so that they take precedence.
        return headers | {name: header(name, value) for name, value in self.fixed.headers.items()}


def read_operation(
    name: str, source: DocumentOperation, references: References, fixed: Fixed
) -> Operation:
    """Reads an operation as a tool called `name`.

    Raises:
        InvalidApi: a reference, a parameter, a schema, the body or the URL cannot be used.
    """
    schemas = Schemas(references)
    found: dict[tuple[str, str], Parameter] = {}
    # A parameter of the operation replaces one of its path with the same place and name (OpenAPI).
    for part in (source.item, source.operation):
        for each in read_parameters(part.get("parameters"), references, schemas):
            found[each.place, each.name] = each
    # Documents often forget to declare a parameter of the path; without it there is no URL.
    for missing in re.findall(r"\{([^{}]+)\}", source.path):
        lone = Parameter(missing, "path", True, {"type": "string"}, "simple", explode=False)
        found.setdefault(("path", missing), lone)
    if len(found) > MAX_PARAMETERS:
        raise InvalidApi(f"has {len(found):,} parameters; the limit is {MAX_PARAMETERS}")
    by_argument = _by_argument(each for each in found.values() if not fixed.has(each))
    body, body_schema, body_required = _body(source.operation, references, schemas, by_argument)
    properties = {argument: each.schema for argument, each in by_argument.items()}
    required = [argument for argument, each in by_argument.items() if each.required]
    if body:
        properties[body.argument] = body_schema
        required += [body.argument] if body_required else []
    schema: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    if definitions := schemas.definitions():
        schema["$defs"] = definitions
    return Operation(
        name=name,
        description=_description(source),
        schema=schema,
        method=source.method,
        address=_address(fixed.base, source.path),
        parameters=by_argument,
        body=body,
        fixed=fixed,
    )


def _by_argument(parameters: Iterable[Parameter]) -> dict[str, Parameter]:
    """The parameters by argument. Two with the same name in different places get two arguments."""
    found: dict[str, Parameter] = {}
    for each in parameters:
        if each.place == "header" and (problem := header_problem(each.name)):
            if each.required:
                raise InvalidApi(f"needs the header {each.name[:50]!r}, which {problem}")
            continue
        argument = each.name if each.name not in found else f"{each.name}_{each.place}"
        found[argument] = each
    return found


def _body(
    operation: Mapping[str, Any],
    references: References,
    schemas: Schemas,
    taken: Mapping[str, Parameter],
) -> tuple[RequestBody | None, Any, bool]:
    """The body of the operation or None, its schema, and whether it is required."""
    if "requestBody" not in operation:
        return None, {}, False
    given = references.follow(operation["requestBody"])
    content = given.get("content")
    kinds: Mapping[str, Any] = content if isinstance(content, dict) else {}
    required = given.get("required") is True
    kind = next(
        (kind for form in (_JSON, FORM, "text/") for kind in kinds if re.match(form, kind)), None
    )
    if kind is None:
        if required:
            shown = ", ".join(kinds)[:100] or "of an unknown type"
            raise InvalidApi(f"needs a body of a type that is not supported: {shown}")
        return None, {}, False
    media = references.follow(kinds[kind])
    argument = "body" if "body" not in taken else "request_body"
    kind = FORM if kind.startswith(FORM) else kind
    return RequestBody(argument, kind), schemas.schema(media.get("schema", {})), required


def _address(base: str, path: str) -> Address:
    """The URL of the operation, with each parameter of the path as an expression."""
    pieces: list[Piece] = [base.rstrip("/")]
    for number, part in enumerate(re.split(r"\{([^{}]+)\}", path)):
        plain = _plain(part)
        pieces.append(compile_expression(plain, names=[plain]) if number % 2 else part)
    try:
        return address(TextTemplate(tuple(piece for piece in pieces if piece != "")))
    except ValueError as error:
        raise InvalidApi(f"has a URL that {error.args[0]}", hint=error.args[1]) from None


def _plain(name: str) -> str:
    """A parameter's name as a valid and unique name in an expression: `user-id` has a minus."""
    return "p_" + re.sub(r"[^A-Za-z0-9]", lambda found: f"_{ord(found[0]):x}_", name)


def _description(source: DocumentOperation) -> str:
    """The summary and the description for the model; method and path if the document has none."""
    for part in (source.operation, source.item):
        values = [part.get(key) for key in ("summary", "description")]
        texts = [" ".join(each.split()) for each in values if isinstance(each, str)]
        texts = [text for text in texts if text]
        if texts:
            # Many documents repeat the summary as the description.
            text = ". ".join(dict.fromkeys(each.rstrip(".") for each in texts)) + "."
            return text if len(text) <= MAX_DESCRIPTION else f"{text[:MAX_DESCRIPTION]}…"
    return f"{source.method.upper()} {source.path}"
