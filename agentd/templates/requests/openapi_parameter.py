"""Parameters of an operation: their place in a request, and how their values are written there.

The styles are those of OpenAPI 3, https://spec.openapis.org/oas/v3.1.0#style-values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agentd.templates.filters import as_text
from agentd.templates.requests.openapi_schema import InvalidApi, References, Schemas
from agentd.templates.requests.request import pairs_of

PLACES = ("path", "query", "header", "cookie")

_IGNORED_HEADERS = ("accept", "authorization", "content-type")  # OpenAPI says to ignore these
_SEPARATORS = {"spaceDelimited": " ", "pipeDelimited": "|"}


@dataclass(frozen=True)
class Parameter:
    """A value in the path, the query, a header or a cookie of a request.

    Attributes:
        place: one of `PLACES`.
        schema: the JSON Schema of its value, with the description for the model.
        style, explode: how lists and objects are written, in the terms of OpenAPI. The style
            `json` is ours, for a parameter that is declared with `content` instead of `schema`.
    """

    name: str
    place: str
    required: bool
    schema: Mapping[str, Any]
    style: str
    explode: bool

    def simple(self, value: Any) -> str:
        """The text of a value in a path, a header or a cookie."""
        if self.style == "json":
            return json.dumps(value)
        if isinstance(value, list):
            return ",".join(map(as_text, value))
        if isinstance(value, dict):
            sign = "=" if self.explode else ","
            return ",".join(f"{name}{sign}{as_text(each)}" for name, each in value.items())
        return as_text(value)

    def pairs(self, value: Any) -> Iterator[tuple[str, str]]:
        """The pairs of a value in a query: none, one or several."""
        if isinstance(value, dict) and self.style == "deepObject":
            for name, each in value.items():
                yield from pairs_of(f"{self.name}[{name}]", each)
        elif isinstance(value, dict) and self.explode and self.style == "form":
            # The fields of the object replace the parameter: its own name is not sent.
            for name, each in value.items():
                yield from pairs_of(name, each)
        elif isinstance(value, list) and self.style in _SEPARATORS:
            yield self.name, _SEPARATORS[self.style].join(map(as_text, value))
        elif isinstance(value, list) and self.explode and self.style == "form":
            yield from pairs_of(self.name, value)
        else:
            yield self.name, self.simple(value)


def read_parameters(given: Any, references: References, schemas: Schemas) -> Iterator[Parameter]:
    """Reads a list of parameters, without the headers that OpenAPI says to ignore.

    Raises:
        InvalidApi: an entry is not a parameter.
    """
    for each in given if isinstance(given, list) else ():
        parameter = references.follow(each)
        name, place = parameter.get("name"), parameter.get("in")
        if not isinstance(name, str) or not name or place not in PLACES:
            raise InvalidApi("has a parameter without `name` or `in`")
        if place == "header" and name.lower() in _IGNORED_HEADERS:
            continue
        yield _parameter(name, place, parameter, schemas)


def _parameter(name: str, place: str, given: Mapping[str, Any], schemas: Schemas) -> Parameter:
    # `content` has exactly one media type, as a rule JSON (OpenAPI). It replaces `schema`.
    content = given.get("content")
    kinds = content if isinstance(content, dict) else {}
    media = next((each for each in kinds.values() if isinstance(each, dict)), None)
    schema = schemas.schema((media or given).get("schema", {}))
    if not isinstance(schema, dict):
        schema = {}
    if isinstance(given.get("description"), str):
        schema = {**schema, "description": given["description"]}
    # The defaults of `style` and `explode` depend on the place (OpenAPI).
    style = given.get("style") or ("form" if place in ("query", "cookie") else "simple")
    explode = given.get("explode")
    return Parameter(
        name=name,
        place=place,
        required=place == "path" or given.get("required") is True,
        schema=schema,
        style="json" if media is not None else str(style),
        explode=explode if isinstance(explode, bool) else style in ("form", "deepObject"),
    )
