"""A request as a manifest writes it: `http:` under `tools:`, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from agentd.errors import AgentdError, PromptError
from agentd.manifest.tools import ToolEntry
from agentd.templates.bounds import BoundExceeded
from agentd.templates.expression import InvalidExpression
from agentd.templates.requests.json_path import parse_path
from agentd.templates.requests.request import (
    Address,
    BadRequest,
    HttpRequest,
    address,
    header,
    mistake_in_header,
    pairs_of,
    spoken,
    with_body,
)
from agentd.templates.text import TextTemplate, compile_text

KEY = "idempotency_key"  # a name of ours beside those of the arguments

Loc = tuple[str | int, ...]


@dataclass(frozen=True)
class RequestMistake:
    """What is wrong at a field of the entry, `()` being all of it."""

    loc: Loc
    text: str
    hint: str = ""
    severity: Literal["error", "warning"] = "error"


class InvalidRequest(AgentdError):
    """No request can be made from what the manifest says."""

    def __init__(self, mistakes: tuple[RequestMistake, ...]) -> None:
        super().__init__("; ".join(mistake.text for mistake in mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True)
class RequestTemplate:
    """A request that only wants its arguments.

    `query`, `headers` and `body` hold a `TextTemplate` where the manifest has a text.
    """

    method: str
    address: Address
    query: Mapping[str, Any]
    headers: Mapping[str, TextTemplate]
    body: Any
    schema: Mapping[str, Any]
    takes_key: bool

    @cached_property
    def _defaults(self) -> Mapping[str, Any]:
        properties: Mapping[str, Any] = self.schema.get("properties", {})
        given = {name: each for name, each in properties.items() if isinstance(each, dict)}
        return {name: each["default"] for name, each in given.items() if "default" in each}

    def request(self, arguments: Mapping[str, Any], key: str) -> HttpRequest:
        """The request for these arguments, which fit `schema`. A field that shows an argument which
        was not given is left out.

        Raises:
            BadRequest: they make none.
        """
        context = {**self._defaults, **arguments, KEY: key}
        try:
            more = [
                pair
                for name, value in self.query.items()
                for pair in pairs_of(name, _filled(value, context))
            ]
            headers = {
                name: header(name, template.text(context))
                for name, template in self.headers.items()
                if not template.lacks(context)
            }
            url = self.address.url(context, more)
            return with_body(self.method, url, headers, _filled(self.body, context))
        except (PromptError, BoundExceeded) as error:
            raise spoken(error) from None
        except RecursionError:
            raise BadRequest("the arguments are nested too deeply") from None


def compile_request(entry: ToolEntry) -> RequestTemplate:
    """The template of an entry with `http:`.

    Raises:
        InvalidRequest: with every mistake in it.
    """
    return _Compilation(entry).template()


def mistakes_of(entry: ToolEntry) -> tuple[RequestMistake, ...]:
    """What is wrong with an entry with `http:`."""
    try:
        if entry.http:
            compile_request(entry)
    except InvalidRequest as error:
        return error.mistakes
    return ()


class _Compilation:
    """One entry on its way to a template; every step adds to `mistakes` what is wrong."""

    def __init__(self, entry: ToolEntry) -> None:
        assert entry.http is not None
        self._declared = entry.http
        self._parameters = entry.parameters
        self.mistakes: list[RequestMistake] = []
        self._used: dict[str, None] = {}  # in the order of their appearance
        self._names = None if entry.parameters is None else _known_names(entry.parameters)

    def template(self) -> RequestTemplate:
        declared = self._declared
        where = self._address()
        query = self._all(("http", "query"), declared.query)
        headers = {name: self._header(name, text) for name, text in declared.headers.items()}
        body = self._all(("http", "body"), declared.body)
        schema = self._schema()
        self._check_pick()
        if body is not None and declared.method == "GET":
            self._report(("http", "body"), "goes with another method", "write `method: POST`")
        if self.mistakes or where is None:
            raise InvalidRequest(tuple(self.mistakes))
        return RequestTemplate(
            declared.method, where, query, headers, body, schema, KEY in self._used
        )

    def _address(self) -> Address | None:
        template = self._text(("http", "url"), self._declared.url)
        try:
            return address(template) if template else None
        except ValueError as error:
            self._report(("http", "url"), *error.args)
        return None

    def _check_pick(self) -> None:
        try:
            parse_path(self._declared.pick or "")
        except ValueError as error:
            self._report(("http", "pick"), *error.args)

    def _header(self, name: str, text: str) -> TextTemplate:
        if mistake := mistake_in_header(name):
            self._report(("http", "headers", name), mistake)
        template = self._text(("http", "headers", name), text) or TextTemplate(())
        for piece in template.pieces:
            if isinstance(piece, str):
                try:
                    header(name, piece)
                except BadRequest:
                    self._report(("http", "headers", name), "has a line break or control character")
        return template

    def _all(self, loc: Loc, value: Any) -> Any:
        """`value` with a template for each text in it."""
        match value:
            case str():
                return self._text(loc, value)
            case dict():
                return {name: self._all((*loc, name), each) for name, each in value.items()}
            case list():
                return [self._all((*loc, index), each) for index, each in enumerate(value)]
            case _:
                return value

    def _text(self, loc: Loc, text: str) -> TextTemplate | None:
        try:
            template = compile_text(text, self._names)
        except InvalidExpression as error:
            self._report(loc, f"{error}", error.hint)
            return None
        for expression in template.expressions:
            self._used |= dict.fromkeys(sorted(expression.names))
        return template

    def _schema(self) -> Mapping[str, Any]:
        if self._parameters is not None:
            if KEY in self._parameters.get("properties", {}):
                self._report(("parameters",), f"has a `{KEY}`", "agentd gives it by itself")
            return self._parameters
        names = [name for name in self._used if name != KEY]
        return {
            "type": "object",
            "properties": {name: {"type": "string"} for name in names},
            "required": names,
            "additionalProperties": False,
        }

    def _report(self, loc: Loc, text: str, hint: str = "") -> None:
        shown = ".".join(str(part) for part in loc if part != "http")
        self.mistakes.append(RequestMistake(loc, f"`{shown}` {text}", hint))


def _known_names(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    return (*parameters.get("properties", ()), KEY)


def _filled(value: Any, context: Mapping[str, Any]) -> Any:
    match value:
        case TextTemplate():
            return None if value.lacks(context) else value.value(context)
        case dict():
            return dict(_members(value.items(), context))
        case list():
            return [each for _, each in _members(enumerate(value), context)]
        case _:
            return value


def _members(items: Any, context: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    for name, value in items:
        if not (isinstance(value, TextTemplate) and value.lacks(context)):
            yield name, _filled(value, context)
