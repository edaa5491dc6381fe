"""Checks of JSON Schemas and values: the error is named, nothing is fetched, each check ends."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from agentd.manifest.json_schema import check
from agentd.manifest.json_schema.check import (
    QUICK_STEPS,
    foreign_schema_error,
    schema_error,
    value_error,
)
from agentd.manifest.json_schema.steps import at_most

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
BACKTRACKS = "^(a|a)*$"
AAA = "a" * 50 + "!"


def doubling(keyword: str, levels: int = 28) -> dict[str, Any]:
    """Each level refers to the next one twice, so the last one is checked 2^28 times."""
    twice = [[{"$ref": f"#/$defs/{level + 1}"}] * 2 for level in range(levels)]
    return {
        "$ref": "#/$defs/0",
        "$defs": {
            **{str(level): {keyword: two} for level, two in enumerate(twice)},
            str(levels): {"type": "string"},
        },
    }


def depending() -> dict[str, Any]:
    """As `doubling`, where only the search for unevaluated properties follows both references."""
    levels = {
        str(level): {"dependentSchemas": {key: {"$ref": f"#/$defs/{level + 1}"} for key in "ab"}}
        for level in range(28)
    }
    return {"unevaluatedProperties": True, "$ref": "#/$defs/0", "$defs": {**levels, "28": {}}}


ENDLESS: dict[str, tuple[Any, dict[str, Any]]] = {
    "pattern": (AAA, {"pattern": BACKTRACKS}),
    "pattern of a name": ({AAA: 1}, {"patternProperties": {BACKTRACKS: {}}}),
    "names beside a pattern": (
        {AAA: 1},
        {"additionalProperties": False, "patternProperties": {BACKTRACKS: {}}},
    ),
    "unevaluated names": (
        {AAA: 1},
        {"unevaluatedProperties": False, "patternProperties": {BACKTRACKS: {}}},
    ),
    "pattern in an older draft": (
        AAA,
        {"not": {"$schema": "http://json-schema.org/draft-07/schema#", "pattern": BACKTRACKS}},
    ),
    "many slow patterns": (["x" * 2_000] * 20_000, {"items": {"pattern": "(x+x+)+y"}}),
    "allOf": ("x", doubling("allOf")),
    "anyOf": (1, doubling("anyOf")),
    "oneOf": ("x", doubling("oneOf")),
    "dependentSchemas": ({"a": 1, "b": 1}, depending()),
    "enum of arrays": (
        [[1] * 50] * 3_000,
        {"items": {"enum": [[*[1] * 49, last] for last in range(2, 500)]}},
    ),
    "errors that quote the value": (["x" * 500_000], {"anyOf": [{"type": "object"}] * 1_000}),
}


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"city": "Bonn"}, ""),
        ({}, "'city' is a required property"),
        ({"city": 3}, "3 is not of type 'string' (at ['city'])"),
        ("Bonn", "'Bonn' is not of type 'object'"),
    ],
)
async def test_a_value_that_does_not_fit_gets_the_most_relevant_error(
    value: Any, error: str
) -> None:
    assert await value_error(value, CITY) == error


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "text"},
        {"pattern": "("},
        {"pattern": "(" * 5_000},
        {"$ref": "http://127.0.0.1:1/schema.json"},
        {"$ref": "#"},
        {"$id": "http://["},
    ],
)
async def test_no_value_fits_an_invalid_schema(schema: dict[str, Any]) -> None:
    assert (await value_error("x", schema)).startswith("the schema itself is invalid")


def test_a_schema_is_checked_without_a_value() -> None:
    assert schema_error(CITY) == ""
    assert schema_error({"type": "text"}).startswith("'text' is not valid")


async def test_a_schema_that_is_nested_too_deeply_is_invalid() -> None:
    schema: dict[str, Any] = {}
    for _ in range(5_000):
        schema = {"not": schema}

    assert "recursion" in schema_error(schema)
    assert (await value_error("x", schema)).startswith("the schema itself is invalid: ")


def test_a_schema_that_is_too_large_is_invalid() -> None:
    many = {"properties": {f"property {n}": {"type": "string"} for n in range(10_000)}}
    assert schema_error(many) == "it has more than 200,000 characters"
    with at_most(100):
        assert schema_error({"allOf": [CITY] * 50}).startswith("it is too complex")


async def test_a_foreign_schema_that_takes_long_is_checked_in_a_thread() -> None:
    large = {"allOf": [CITY] * 500}
    with at_most(10**9) as in_the_loop:
        assert await foreign_schema_error(large) == ""

    assert 10**9 - in_the_loop.left == QUICK_STEPS
    assert await foreign_schema_error({"allOf": [CITY] * 500 + [{"type": "text"}]}) != ""


async def test_a_long_error_is_cut() -> None:
    assert len(await value_error("x" * 10_000, {"type": "object"})) == 500


@pytest.mark.parametrize("case", ENDLESS)
async def test_a_check_that_would_not_end_takes_few_steps_in_the_event_loop(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "MOST_STEPS", 3 * QUICK_STEPS)
    threads: set[str] = set()
    bounded = check._misfit  # pyright: ignore[reportPrivateUsage]

    def noting(value: Any, schema: Any, most: int) -> check.Misfit | None:
        threads.add(threading.current_thread().name)
        return bounded(value, schema, most)

    monkeypatch.setattr(check, "_misfit", noting)
    with at_most(10**9) as in_the_loop:
        error = await value_error(*ENDLESS[case])

    assert error == "the schema is too complex: its check takes more than 3,000 steps"
    assert 10**9 - in_the_loop.left == QUICK_STEPS
    assert threads == {threading.current_thread().name, "schema_0"}


async def test_a_long_check_is_finished_in_a_thread() -> None:
    places = [{"city": f"Bonn {n}"} for n in range(2_000)]
    assert await value_error(places, {"items": CITY}) == ""
    places.append({})
    assert "'city' is a required" in await value_error(places, {"items": CITY})
