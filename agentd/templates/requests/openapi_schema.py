"""Schemas of an OpenAPI document as JSON Schema, with what they refer to beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from agentd.errors import AgentdError

MAX_NODES = 2_000  # values in the schemas of one operation: a model reads all of them
MAX_HOPS = 32  # references that lead to references
MAX_DEPTH = 64

# The keywords of JSON Schema that are kept, by what they hold. What OpenAPI adds (`discriminator`,
# `xml`, `example`) says nothing about whether a value fits.
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
    """An OpenAPI document, or an operation of it, that cannot be used; `hint` is the mend."""

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class References:
    """A document whose parts refer to one another."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def follow(self, value: Any) -> Mapping[str, Any]:
        """The object that `value` is or refers to.

        Raises:
            InvalidApi: it is none, or the reference leads nowhere.
        """
        for _ in range(MAX_HOPS):
            if not isinstance(value, dict):
                raise InvalidApi("has something else where an object belongs")
            if "$ref" not in value:
                return value
            value = self.at(value["$ref"])
        raise InvalidApi("refers to itself")

    def at(self, reference: Any) -> Any:
        """What `#/components/…` names.

        Raises:
            InvalidApi: nothing does.
        """
        if not isinstance(reference, str) or not reference.startswith("#"):
            shown = str(reference)[:100]
            hint = "bundle it into one file, for example with `redocly bundle`"
            raise InvalidApi(f"refers to {shown!r}, another document", hint=hint)
        value: Any = self._document
        for part in unquote(reference[1:]).split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")
            if isinstance(value, list) and part.isdecimal() and int(part[:9]) < len(value):
                value = value[int(part)]
            elif isinstance(value, dict) and part in value:
                value = value[part]
            else:
                raise InvalidApi(f"refers to {reference[:100]!r}, which is not there")
        return value


class Schemas:
    """The schemas of one operation. What they refer to stands once in `definitions`, so that a
    schema which contains itself stays as small as it was written."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._definitions: dict[str, Any] = {}
        self._pending: list[tuple[str, Any]] = []
        self._names: dict[str, str] = {}
        self._left = MAX_NODES

    def definitions(self) -> dict[str, Any]:
        """What the schemas refer to as `#/$defs/{name}`.

        Raises:
            InvalidApi: as `schema`.
        """
        # Not by recursion: definitions lead to one another in chains of any length.
        while self._pending:
            name, target = self._pending.pop()
            self._definitions[name] = self.schema(target)
        return self._definitions

    def schema(self, given: Any, depth: int = 0) -> Any:
        """The JSON Schema (draft 2020-12) of a schema of OpenAPI 3.0 or 3.1.

        Raises:
            InvalidApi: it refers to what is not there, or it is too large.
        """
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise InvalidApi("has a schema that is too large")
        if isinstance(given, bool):
            return given
        if not isinstance(given, dict):
            raise InvalidApi("has something else where a schema belongs")
        made: dict[str, Any] = {}
        for keyword, value in given.items():
            self._add(made, keyword, value, depth + 1)
        if "$ref" in given:
            made["$ref"] = self._refer(given["$ref"])
        _exclusive(made)
        _told_pattern(made, given)
        _without_read_only(made, given.get("properties"))
        return _nullable(made) if given.get("nullable") is True else made

    def _add(self, made: dict[str, Any], keyword: str, value: Any, depth: int) -> None:
        """Adds a keyword, if it says whether a value fits and does so properly."""
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
    """OpenAPI 3.0's `nullable` in the words of JSON Schema."""
    kind = schema.get("type")
    if not isinstance(kind, str):
        return {"anyOf": [schema, {"type": "null"}]}
    schema["type"] = [kind, "null"]
    if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
    return schema


def _exclusive(schema: dict[str, Any]) -> None:
    """OpenAPI 3.0 says with true that `minimum` itself does not fit; JSON Schema with a number."""
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(schema.get(bound), bool):
            del schema[bound]
        if isinstance(schema.get(exclusive), bool) and schema.pop(exclusive) and bound in schema:
            schema[exclusive] = schema.pop(bound)


def _told_pattern(schema: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Tells a pattern in words: a regular expression from elsewhere can keep a process busy for
    years. What it is for, the server checks."""
    if isinstance(pattern := given.get("pattern"), str):
        told = f"Matches {pattern[:200]}"
        schema["description"] = (
            f"{schema['description']} {told}" if "description" in schema else told
        )
    if "patternProperties" in given:
        schema.pop("additionalProperties", None)
        schema.pop("unevaluatedProperties", None)


def _is_type(value: Any) -> bool:
    if isinstance(value, str):
        return value in _TYPES
    kinds = value if isinstance(value, list) else []
    texts = [kind for kind in kinds if isinstance(kind, str) and kind in _TYPES]
    return bool(kinds) and len(set(texts)) == len(kinds)


def _without_read_only(schema: dict[str, Any], properties: Any) -> None:
    """Leaves out what only answers have, though it may be listed as required."""
    for name, each in properties.items() if isinstance(properties, dict) else ():
        if isinstance(each, dict) and each.get("readOnly") is True:
            del schema["properties"][name]
            if isinstance(schema.get("required"), list) and name in schema["required"]:
                schema["required"] = [other for other in schema["required"] if other != name]
