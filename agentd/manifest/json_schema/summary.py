"""A JSON Schema in one line, for people: the fields of an object, or the types of a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LONGEST = 100  # characters
_ANY = "any"


def in_short(schema: Mapping[str, Any]) -> str:
    """`order: string, amount?: number` for an object with fields, or else its types."""
    properties: Any = schema.get("properties")
    if not isinstance(properties, dict) or not properties:
        return _cut(_types(schema))
    required: Any = schema.get("required")
    needed = required if isinstance(required, list) else []
    fields = (
        f"{name}{'' if name in needed else '?'}: {_types(field)}"
        for name, field in properties.items()
    )
    return _cut(", ".join(fields))


def _types(schema: Any) -> str:
    if not isinstance(schema, dict):
        return _ANY
    match schema:
        case {"enum": [*values]}:
            return "|".join(map(str, values))
        case {"const": value}:
            return str(value)
        case {"type": str(kind)}:
            return kind
        case {"type": [*kinds]}:
            return "|".join(map(str, kinds))
        case _:
            return _ANY


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
