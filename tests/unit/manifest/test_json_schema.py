"""Checks of JSON Schemas and values: the error is named, and nothing is fetched."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.manifest.json_schema import schema_error, value_error

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"city": "Bonn"}, ""),
        ({}, "'city' is a required property"),
        ({"city": 3}, "3 is not of type 'string' (at ['city'])"),
        ("Bonn", "'Bonn' is not of type 'object'"),
    ],
)
def test_a_value_that_does_not_fit_gets_the_most_relevant_error(value: Any, error: str) -> None:
    assert value_error(value, CITY) == error


@pytest.mark.parametrize(
    "schema", [{"type": "text"}, {"pattern": "("}, {"$ref": "http://127.0.0.1:1/schema.json"}]
)
def test_no_value_fits_an_invalid_schema(schema: dict[str, Any]) -> None:
    assert value_error("x", schema).startswith("the schema itself is invalid")


def test_a_schema_is_checked_without_a_value() -> None:
    assert schema_error(CITY) == ""
    assert schema_error({"type": "text"}).startswith("'text' is not valid")


def test_a_schema_that_is_nested_too_deeply_is_invalid() -> None:
    schema: dict[str, Any] = {}
    for _ in range(5_000):
        schema = {"not": schema}

    assert "recursion" in schema_error(schema)
    assert value_error("x", schema).startswith("the schema itself is invalid: ")


def test_a_long_error_is_cut() -> None:
    assert len(value_error("x" * 10_000, {"type": "object"})) == 500
