"""Schemas of tools: older drafts in the current one, and what providers take."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.manifest.json_schema.check import schema_error
from agentd.tools.tool_schema import for_model, modern


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"$schema": "http://json-schema.org/draft-07/schema#", "id": "x"}, {}),
        (
            {"minimum": 1, "exclusiveMinimum": True, "maximum": 9, "exclusiveMaximum": False},
            {"exclusiveMinimum": 1, "maximum": 9},
        ),
        ({"items": [{"type": "any"}, {}]}, {"prefixItems": [{}, {}]}),
        (
            {"items": [{}], "additionalItems": {"required": True}},
            {"prefixItems": [{}], "items": {}},
        ),
        (
            {"dependencies": {"a": ["b"], "c": {"id": "x"}}},
            {"dependentRequired": {"a": ["b"]}, "dependentSchemas": {"c": {}}},
        ),
        (
            {"$ref": "#/definitions/P", "definitions": {"P": {"$ref": "#/definitions/P"}}},
            {"$ref": "#/$defs/P", "$defs": {"P": {"$ref": "#/$defs/P"}}},
        ),
        (
            {"anyOf": [{"not": {"id": "x"}}], "patternProperties": {"a": {"id": "x"}}},
            {"anyOf": [{"not": {}}], "patternProperties": {"a": {}}},
        ),
    ],
)
def test_an_older_draft_is_converted(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert modern(old) == new
    assert schema_error(new) == ""


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"id": {"type": "string"}, "$schema": {}, "required": {"type": "boolean"}}},
        {"const": {"$schema": "x", "id": "y"}, "enum": [{"id": "y"}], "default": {"id": "y"}},
        {"prefixItems": [{}], "items": False, "required": ["a"], "exclusiveMinimum": 3},
        {"$defs": {"a": True}, "additionalProperties": False},
    ],
)
def test_the_current_draft_stays(schema: dict[str, Any]) -> None:
    assert modern(schema) == schema


def test_arguments_always_have_properties() -> None:
    assert for_model({}) == {"type": "object", "properties": {}}
    assert for_model({"type": "object", "additionalProperties": False}) == {
        "type": "object",
        "additionalProperties": False,
        "properties": {},
    }


@pytest.mark.parametrize("combining", ["anyOf", "oneOf", "allOf"])
def test_what_is_combined_at_the_top_is_merged(combining: str) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        combining: [
            {"properties": {"b": {}}, "required": ["b"]},
            {"$ref": "#/$defs/C"},
        ],
        "$defs": {"C": {"properties": {"c": {}, "a": {}}}},
    }
    shown = for_model(schema)
    assert shown["properties"] == {"a": {"type": "string"}, "b": {}, "c": {}}
    assert shown["required"] == (["a", "b"] if combining == "allOf" else ["a"])
    assert combining not in shown


def test_a_reference_at_the_top_is_followed_and_conditions_are_left_out() -> None:
    schema = {
        "$ref": "#/$defs/A",
        "$defs": {"A": {"properties": {"a": {}}, "required": ["a"], "$ref": "#/$defs/A"}},
        "if": {"properties": {"x": {}}},
        "then": {"properties": {"b": {}}, "required": ["b"]},
        "not": {},
    }
    assert for_model(schema) == {
        "type": "object",
        "$defs": schema["$defs"],
        "properties": {"a": {}, "b": {}},
        "required": ["a"],
    }
