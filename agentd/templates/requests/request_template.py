"""Request templates: `http:` under `tools:` of a manifest, compiled and checked."""

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
    as_bad_request,
    header,
    header_problem,
    pairs_of,
    with_body,
)
from agentd.templates.text import TextTemplate, compile_text

KEY = "idempotency_key"  # the name that templates can use besides the arguments of the call

Loc = tuple[str | int, ...]


@dataclass(frozen=True)
class RequestProblem:
    """A problem at a field of a tool entry; the `loc` () means the whole entry.

    `line` and `word` are the place in the text of the field, as in a `PromptProblem`.
    """

    loc: Loc
    text: str
    hint: str = ""
    severity: Literal["error", "warning"] = "error"
    line: int = 0
    word: str = ""


class InvalidRequest(AgentdError):
    """A tool entry from which no request can be made; `problems` are all problems in it."""

    def __init__(self, problems: tuple[RequestProblem, ...]) -> None:
        super().__init__("; ".join(problem.text for problem in problems))
        self.problems = problems


@dataclass(frozen=True)
class RequestTemplate:
    """A compiled request, complete except for the arguments.

    Attributes:
        query, headers, body: as in the manifest, with a `TextTemplate` for each text.
        schema: the JSON Schema of the arguments.
        takes_key: whether an expression uses the idempotency key.
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
        """The defaults that the schema declares for its arguments."""
        properties: Mapping[str, Any] = self.schema.get("properties", {})
        given = {name: each for name, each in properties.items() if isinstance(each, dict)}
        return {name: each["default"] for name, each in given.items() if "default" in each}

    def request(self, arguments: Mapping[str, Any], key: str) -> HttpRequest:
        """The request for `arguments`, which fit `schema`, and for the idempotency key `key`.

        A field whose value is an argument that was not given is left out.

        Raises:
            BadRequest: no request can be made with these arguments.
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
        # The model chose the arguments, so it gets the error and can choose others.
        except (PromptError, BoundExceeded) as error:
            raise as_bad_request(error) from None
        except RecursionError:
            raise BadRequest("the arguments are nested too deeply") from None


def compile_request(entry: ToolEntry) -> RequestTemplate:
    """Compiles an entry with `http:`.

    Raises:
        InvalidRequest: the entry has problems; the error has all of them.
    """
    return _Compilation(entry).template()


def problems_of(entry: ToolEntry) -> tuple[RequestProblem, ...]:
    """The problems of an entry with `http:`; none for any other entry."""
    try:
        if entry.http:
            compile_request(entry)
    except InvalidRequest as error:
        return error.problems
    return ()


class _Compilation:
    """The compilation of one entry; each step adds the problems that it finds to `problems`."""

    def __init__(self, entry: ToolEntry) -> None:
        assert entry.http is not None
        self._declared = entry.http
        self._parameters = entry.parameters
        self.problems: list[RequestProblem] = []
        self._used: dict[str, None] = {}  # a set of names in the order of their first use
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
            self._report(("http", "body"), "cannot be sent with GET", "write `method: POST`")
        if self.problems or where is None:
            raise InvalidRequest(tuple(self.problems))
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
        if problem := header_problem(name):
            self._report(("http", "headers", name), problem)
        template = self._text(("http", "headers", name), text) or TextTemplate(())
        # Values are checked in each request; what the author wrote is checked now.
        for piece in template.pieces:
            if isinstance(piece, str):
                try:
                    header(name, piece)
                except BadRequest:
                    self._report(("http", "headers", name), "has a line break or control character")
        return template

    def _all(self, loc: Loc, value: Any) -> Any:
        """`value` with each text in it compiled."""
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
        """The compiled text; None if it has a problem, which is reported."""
        try:
            template = compile_text(text, self._names)
        except InvalidExpression as error:
            for problem in error.problems:
                text, line, word = f"`{_shown(loc)}`: {problem.text}", problem.line, problem.word
                found = RequestProblem(loc, text, problem.hint, line=line, word=word)
                self.problems.append(found)
            return None
        for expression in template.expressions:
            self._used |= dict.fromkeys(sorted(expression.names))
        return template

    def _schema(self) -> Mapping[str, Any]:
        """The schema of the arguments: `parameters`, or a text for each name that is used."""
        if self._parameters is not None:
            if KEY in self._parameters.get("properties", {}):
                hint = "agentd sets it; the model cannot choose it"
                self._report(("parameters",), f"has a `{KEY}`", hint)
            return self._parameters
        # Without declared parameters, a misspelt name becomes one more argument.
        names = [name for name in self._used if name != KEY]
        return {
            "type": "object",
            "properties": {name: {"type": "string"} for name in names},
            "required": names,
            "additionalProperties": False,
        }

    def _report(self, loc: Loc, text: str, hint: str = "") -> None:
        self.problems.append(RequestProblem(loc, f"`{_shown(loc)}` {text}", hint))


def _shown(loc: Loc) -> str:
    return ".".join(str(part) for part in loc if part != "http")


def _known_names(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    return (*parameters.get("properties", ()), KEY)


def _filled(value: Any, context: Mapping[str, Any]) -> Any:
    """`value` with the value of each template in it."""
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
    """The members with their values, without those whose argument was not given."""
    for name, value in items:
        if not (isinstance(value, TextTemplate) and value.lacks(context)):
            yield name, _filled(value, context)
