"""The JSON Schemas of tools: in the current draft, and in the form that providers take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_NAMED = ("properties", "patternProperties", "dependentSchemas", "definitions", "$defs")
_LISTED = ("allOf", "anyOf", "oneOf", "prefixItems")
_ONE = (
    *("additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then"),
    *("unevaluatedItems", "unevaluatedProperties"),
)
# Not at the top level of arguments: OpenAI, Anthropic and Google refuse the whole request.
_COMBINING = ("$ref", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "enum", "const")


def modern(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema of an older draft (3 to 2019-09) in the terms of draft 2020-12, which providers and
    our own check take. A schema of the current draft stays as it is, without `$schema`.

    Raises:
        RecursionError: it is nested too deeply.
    """
    made = _modern(schema)
    if isinstance(made.get("definitions"), dict):
        made["$defs"] = made.pop("definitions") | made.get("$defs", {})
    return made


def for_model(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a tool's arguments as providers take it: an object with `properties`.

    What they do not take at the top level is merged into `properties`; the arguments are still
    checked against the whole schema.
    """
    shown = {name: value for name, value in schema.items() if name not in _COMBINING}
    shown |= {"type": "object", "properties": dict(_mapping(schema.get("properties")))}
    for branch, always in _branches(schema):
        inner = for_model(branch)
        shown["properties"] = inner["properties"] | shown["properties"]
        if always and inner.get("required"):
            shown["required"] = list(
                dict.fromkeys([*shown.get("required", ()), *inner["required"]])
            )
    return shown


def _branches(schema: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], bool]]:
    """The schemas that are combined at the top level; and whether each one must always fit."""
    found = [(each, True) for each in schema.get("allOf", ())]
    found += [(each, False) for word in ("anyOf", "oneOf") for each in schema.get(word, ())]
    found += [(schema[word], False) for word in ("then", "else") if word in schema]
    _, _, name = str(schema.get("$ref", "")).partition("#/$defs/")
    definitions = _mapping(schema.get("$defs"))
    if name in definitions:
        found.append((definitions[name], True))
    # A branch may refer to the definitions of the whole; without its own, one level is enough.
    return [
        (_mapping(definitions.get(str(each.get("$ref", ""))[8:], each)), always)
        for each, always in found
        if isinstance(each, dict)
    ]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _modern(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {}
    for keyword, value in schema.items():
        made |= _keyword(keyword, value)
    if isinstance(schema.get("items"), list):  # a tuple: `additionalItems` is for the rest
        made["prefixItems"] = made.pop("items")
        if "additionalItems" in schema:
            made["items"] = _modern(schema["additionalItems"])
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if schema.get(exclusive) is True and bound in made:
            made[exclusive] = made.pop(bound)
    return made


def _keyword(keyword: str, value: Any) -> dict[str, Any]:
    """A keyword with its value, converted; nothing if it has no meaning any more."""
    match keyword, value:
        case ("$schema" | "id", str()) | ("additionalItems", _) | ("type", "any"):
            return {}
        case (("exclusiveMinimum" | "exclusiveMaximum" | "required"), bool()):
            return {}
        case "$ref", str() if value.startswith("#/definitions/"):
            return {"$ref": value.replace("#/definitions/", "#/$defs/", 1)}
        case "dependencies", dict():
            return {
                "dependentRequired": {k: v for k, v in value.items() if isinstance(v, list)},
                "dependentSchemas": _each(
                    _modern, {k: v for k, v in value.items() if not isinstance(v, list)}
                ),
            }
        case _, dict() if keyword in _NAMED:
            return {keyword: _each(_modern, value)}
        case _, list() if keyword in _LISTED or keyword == "items":
            return {keyword: [_modern(each) for each in value]}
        case _ if keyword in _ONE:
            return {keyword: _modern(value)}
        case _:
            return {keyword: value}


def _each(change: Callable[[Any], Any], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: change(value) for name, value in values.items()}
