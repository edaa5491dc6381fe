"""JSON Schemas of strangers: a mistake is told, and nothing is fetched."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.manifest.json_schema import schema_error, value_error

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.mark.parametrize(
    ("value", "mistake"),
    [
        ({"city": "Bonn"}, ""),
        ({}, "'city' is a required property"),
        ({"city": 3}, "3 is not of type 'string' (at ['city'])"),
        ("Bonn", "'Bonn' is not of type 'object'"),
    ],
)
def test_the_most_telling_mistake(value: Any, mistake: str) -> None:
    assert value_error(value, CITY) == mistake


@pytest.mark.parametrize(
    "schema", [{"type": "text"}, {"pattern": "("}, {"$ref": "http://127.0.0.1:1/schema.json"}]
)
def test_a_broken_schema_fits_nothing(schema: dict[str, Any]) -> None:
    assert value_error("x", schema).startswith("the schema itself is wrong")


def test_a_schema_is_checked_by_itself() -> None:
    assert schema_error(CITY) == ""
    assert schema_error({"type": "text"}).startswith("'text' is not valid")
