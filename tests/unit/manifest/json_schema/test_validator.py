"""The keywords that are not the library's own: they find what JSON Schema says."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.manifest.json_schema.check import value_error

AB = {"properties": {"a": {"type": "string"}}, "patternProperties": {"^b": {"type": "integer"}}}
BASE = {"$defs": {"base": {"properties": {"a": {}}}}, "unevaluatedProperties": False}


@pytest.mark.parametrize(
    ("schema", "fits", "does_not", "error"),
    [
        ({"pattern": "^b+$"}, "bb", "ab", "'ab' does not match '^b+$'"),
        ({"pattern": r"^\p{L}+$"}, "äöü", "1", r"'1' does not match '^\\p{L}+$'"),
        ({"pattern": "^(?=.*[0-9])"}, "a1", "a", "'a' does not match '^(?=.*[0-9])'"),
        (AB, {"a": "", "b": 1}, {"b1": "x"}, "'x' is not of type 'integer' (at ['b1'])"),
        (
            {**AB, "additionalProperties": False},
            {"a": "", "b": 1},
            {"a": "", "c": 1},
            "Additional properties are not allowed ('c' was unexpected)",
        ),
        (
            {**AB, "additionalProperties": {"type": "null"}},
            {"c": None},
            {"c": 1},
            "1 is not of type 'null' (at ['c'])",
        ),
        ({"uniqueItems": True}, [1, True, "1", [1], {"a": 1}], [1, 1.0], "non-unique"),
        ({"uniqueItems": True}, [{"a": 1, "b": 2}, {}], [{"a": 1, "b": 2}, {"b": 2, "a": 1}], ""),
        ({"uniqueItems": False}, [1, 1], None, ""),
        (
            {**BASE, "$ref": "#/$defs/base"},
            {"a": 1},
            {"a": 1, "b": 1, "c": 1},
            "Unevaluated properties are not allowed ('b', 'c' were unexpected)",
        ),
        ({**BASE, "anyOf": [{"$ref": "#/$defs/base"}, True]}, {"a": 1}, {"b": 1}, "Unevaluated"),
        (
            {**BASE, "if": {"required": ["a"]}, "then": {"properties": {"b": {}}}},
            {},
            {"b": 1},
            "Unevaluated",
        ),
        (
            {**BASE, "if": {"required": ["z"]}, "else": {"properties": {"b": {}}}},
            {"b": 1},
            {"c": 1},
            "Unevaluated",
        ),
        (
            {**BASE, "dependentSchemas": {"a": {"additionalProperties": True}}},
            {"a": 1, "b": 1},
            {"b": 1},
            "Unevaluated",
        ),
        ({**BASE, "patternProperties": {"^b": {}}}, {"b": 1}, {"a": 1}, "Unevaluated"),
        (
            {"unevaluatedProperties": {"type": "null"}, "properties": {"a": {}}},
            {"a": 1, "b": None},
            {"b": 1},
            "1 is not of type 'null' (at ['b'])",
        ),
        ({"unevaluatedItems": False, "prefixItems": [{}]}, [1], [1, 2], "does not allow 2"),
        ({"unevaluatedItems": False, "contains": {"const": 1}}, [1, 1], [1, 2], "does not allow 2"),
        ({"unevaluatedItems": False, "allOf": [{"items": {}}]}, [1, 2], None, ""),
        ({"$ref": "#a", "$defs": {"x": {"$anchor": "a", "type": "null"}}}, None, 1, "not of type"),
        (
            {"$dynamicAnchor": "n", "items": {"$dynamicRef": "#n"}, "type": "array"},
            [[], [[]]],
            [[1]],
            "1 is not of type 'array' (at [0][0])",
        ),
        ({"enum": [[1], {"a": True}]}, {"a": True}, {"a": 1}, "is not one of"),
    ],
)
async def test_a_keyword(schema: dict[str, Any], fits: Any, does_not: Any, error: str) -> None:
    assert await value_error(fits, schema) == ""
    assert error in await value_error(does_not, schema)
    if error:
        assert await value_error(does_not, schema)
