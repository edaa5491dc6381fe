"""Schemas of an OpenAPI document as JSON Schemas, with the definitions that they refer to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from agentd.errors import AgentdError

MAX_NODES = 2_000  # values in the schemas of one operation: a model reads all of them
MAX_HOPS = 32  # references that lead to references: a cycle of them has no end
MAX_DEPTH = 64  # of nested schemas; validators and Python recurse

# The keywords of JSON Schema that are kept, by the kind of their value. The keywords that OpenAPI
# adds (`discriminator`, `xml`, `example`) do not say which values are valid. Keywords with a value
# of the wrong kind are dropped too: the validator would refuse the whole schema.
_ONE = """
    additionalProperties contains else if items not propertyNames then unevaluatedItems
    unevaluatedProperties
"""
_SEVERAL = "allOf anyOf oneOf prefixItems"
_NAMED = "dependentSchemas properties"
_TEXT = "description format title"
_SWITCH = "deprecated uniqueItems"
_NUMBER = "exclusiveMaximum exclusiveMinimum maximum minimum"
_COUNT = """
    maxContains maxItems maxLength maxProperties minContains minItems minLength minProperties
"""
_ANYTHING = "const default"
_HOLDS = {
    keyword: kind
    for kind, keywords in (
        ("one", _ONE),
        ("several", _SEVERAL),
        ("named", _NAMED),
        ("text", _TEXT),
        ("switch", _SWITCH),
        ("number", _NUMBER),
        ("count", _COUNT),
        ("anything", _ANYTHING),
    )
    for keyword in keywords.split()
}
_TYPES = frozenset(["array", "boolean", "integer", "null", "number", "object", "string"])


class InvalidApi(AgentdError):
    """A document or an operation that cannot be used; `hint` says how to fix it, or is empty."""

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class References:
    """Follows the references (`$ref`) between the parts of a document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def follow(self, value: Any) -> Mapping[str, Any]:
        """`value` itself, or the object that it refers to.

        Raises:
            InvalidApi: it is not an object, or the reference is invalid or leads to itself.
        """
        for _ in range(MAX_HOPS):
            if not isinstance(value, dict):
                raise InvalidApi("has another value where an object is required")
            if "$ref" not in value:
                return value
            value = self.at(value["$ref"])
        raise InvalidApi("refers to itself")

    def at(self, reference: Any) -> Any:
        """The value that a reference such as `#/components/schemas/Pet` names (RFC 6901).

        Raises:
            InvalidApi: it is in another document, or it does not exist.
        """
        # Other documents are not fetched: the author of the document would choose the URL.
        if not isinstance(reference, str) or not reference.startswith("#"):
            shown = str(reference)[:100]
            hint = "bundle it into one file, for example with `redocly bundle`"
            raise InvalidApi(f"refers to {shown!r}, another document", hint=hint)
        value: Any = self._document
        for part in unquote(reference[1:]).split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")  # this order: `~01` means `~1`
            if isinstance(value, list) and part.isdecimal() and int(part[:9]) < len(value):
                value = value[int(part)]
            elif isinstance(value, dict) and part in value:
                value = value[part]
            else:
                raise InvalidApi(f"refers to {reference[:100]!r}, which does not exist")
        return value


class Schemas:
    """The schemas of one operation.

    Referenced schemas are not inserted where they are used but collected once, in `definitions`:
    a schema can contain itself, or refer to another one many times.
    """

    def __init__(self, references: References) -> None:
        self._references = references
        self._definitions: dict[str, Any] = {}
        self._pending: list[tuple[str, Any]] = []
        self._names: dict[str, str] = {}
        self._left = MAX_NODES

    def definitions(self) -> dict[str, Any]:
        """All schemas that are referred to as `#/$defs/{name}`, by name.

        Raises:
            InvalidApi: as in `schema`.
        """
        # A loop, not recursion: definitions refer to one another in chains of any length.
        while self._pending:
            name, target = self._pending.pop()
            self._definitions[name] = self.schema(target)
        return self._definitions

    def schema(self, given: Any, depth: int = 0) -> Any:
        """Converts a schema of OpenAPI 3.0 or 3.1 to JSON Schema (draft 2020-12).

        Raises:
            InvalidApi: it refers to something that does not exist, or it is too large.
        """
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise InvalidApi("has a schema that is too large")
        if isinstance(given, bool):
            return given
        if not isinstance(given, dict):
            raise InvalidApi("has another value where a schema is required")
        made: dict[str, Any] = {}
        for keyword, value in given.items():
            self._add(made, keyword, value, depth + 1)
        if "$ref" in given:
            made["$ref"] = self._refer(given["$ref"])
        _exclusive(made)
        _describe_pattern(made, given)
        _without_read_only(made, given.get("properties"))
        return _nullable(made) if given.get("nullable") is True else made

    def _add(self, made: dict[str, Any], keyword: str, value: Any, depth: int) -> None:
        """Adds a keyword if it is known and its value is of the right kind."""
        match _HOLDS.get(keyword, keyword), value:
            case "one", _:
                made[keyword] = self.schema(value, depth)
            case ("several", [_, *_]):
                made[keyword] = [self.schema(each, depth) for each in value]
            case "named", dict():
                made[keyword] = {name: self.schema(each, depth) for name, each in value.items()}
            case ("text", str()) | ("switch", bool()) | ("anything", _):
                made[keyword] = value
            case "number", int() | float():  # true and false too: see `_exclusive`
                made[keyword] = value
            case "count", int() if value >= 0 and not isinstance(value, bool):
                made[keyword] = value
            case "type", _ if _is_type(value):
                made[keyword] = value
            case "enum", [_, *_]:
                self._left -= len(value)
                made[keyword] = list(value)
            case "required", list():
                made[keyword] = list(dict.fromkeys(n for n in value if isinstance(n, str)))
            case _:
                return

    def _refer(self, reference: Any) -> str:
        """The reference into `definitions`; a schema seen for the first time is read later."""
        target = self._references.at(reference)
        name = self._names.get(reference)
        if name is None:
            last = re.sub(r"\W", "_", str(reference).rpartition("/")[2])[:60] or "root"
            taken = self._names.values()
            name = last if last not in taken else f"{last}_{len(self._names)}"
            self._names[reference] = name
            self._pending.append((name, target))
        return f"#/$defs/{name}"


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI 3.0's `nullable` in terms of JSON Schema."""
    kind = schema.get("type")
    if not isinstance(kind, str):
        return {"anyOf": [schema, {"type": "null"}]}
    schema["type"] = [kind, "null"]
    # `enum` restricts the value apart from `type`, so it must list null as well.
    if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
    return schema


def _exclusive(schema: dict[str, Any]) -> None:
    """Converts OpenAPI 3.0's `exclusiveMinimum: true`; in JSON Schema it is a number."""
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(schema.get(bound), bool):  # a bool is an int, so `_add` let it pass
            del schema[bound]
        if isinstance(schema.get(exclusive), bool) and schema.pop(exclusive) and bound in schema:
            schema[exclusive] = schema.pop(bound)


def _describe_pattern(schema: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Moves a `pattern` to the description, where the model reads it.

    It is not used for validation: Python's `re` can run for years on a regular expression that
    someone else wrote. The API itself checks the value.
    """
    if isinstance(pattern := given.get("pattern"), str):
        text = f"Matches {pattern[:200]}"
        schema["description"] = (
            f"{schema['description']} {text}" if "description" in schema else text
        )
    # Without these patterns, the properties that they allow would count as additional.
    if "patternProperties" in given:
        schema.pop("additionalProperties", None)
        schema.pop("unevaluatedProperties", None)


def _is_type(value: Any) -> bool:
    """Whether `value` is a valid `type`: a known name, or a list of different known names."""
    if isinstance(value, str):
        return value in _TYPES
    kinds = value if isinstance(value, list) else []
    texts = [kind for kind in kinds if isinstance(kind, str) and kind in _TYPES]
    return bool(kinds) and len(set(texts)) == len(kinds)


def _without_read_only(schema: dict[str, Any], properties: Any) -> None:
    """Removes the read-only properties: only answers have them, even if `required` lists them."""
    for name, each in properties.items() if isinstance(properties, dict) else ():
        if isinstance(each, dict) and each.get("readOnly") is True:
            del schema["properties"][name]
            if isinstance(schema.get("required"), list) and name in schema["required"]:
                schema["required"] = [other for other in schema["required"] if other != name]
