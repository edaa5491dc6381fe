"""Schemas of OpenAPI as JSON Schema, and the references between them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentd.manifest.json_schema.check import schema_error, value_error
from agentd.templates.requests.openapi_schema import (
    MAX_DEPTH,
    MAX_NODES,
    InvalidApi,
    References,
    Schemas,
)
from tests.unit.templates.requests.pets import changed, operation


def nested(depth: int) -> Any:
    schema: Any = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


CHAIN = {f"S{n}": {"properties": {"next": {"$ref": f"#/components/schemas/S{n + 1}"}}}
         for n in range(600)} | {"S600": {}}  # fmt: skip


async def test_schemas_that_refer_to_each_other_stay_small() -> None:
    pet = operation("create_pet").schema
    assert len(json.dumps(pet)) < 1200
    long = {**changed(requestBody={"content": {"application/json": {"schema": {
        "$ref": "#/components/schemas/S0"}}}}), "components": {"schemas": CHAIN}}  # fmt: skip
    assert len(operation("x", long).schema["$defs"]) == 601
    circle = {"A": {"$ref": "#/components/schemas/B"}, "B": {"$ref": "#/components/schemas/A"}}
    round_ = {
        **long,
        "components": {"schemas": {"S0": {"$ref": "#/components/schemas/A"}, **circle}},
    }
    error = await value_error({"body": 1}, operation("x", round_).schema)
    assert "the schema itself is invalid" in error


def test_schemas_of_version_3_1_are_kept() -> None:
    schema = {"type": ["string", "null"], "prefixItems": [{"const": 1}], "$comment": "x"}
    document = {**changed(parameters=[{"name": "a", "in": "query", "schema": schema}])}
    document["openapi"] = "3.1.0"

    shown = operation("x", document).schema["properties"]["a"]
    assert shown == {"type": ["string", "null"], "prefixItems": [{"const": 1}]}


async def test_a_body_is_validated_with_referenced_schemas() -> None:
    create = operation("create_pet")
    assert create.schema["required"] == ["body"]
    assert schema_error(create.schema) == ""

    async def problem(**pet: Any) -> str:
        return await value_error({"body": {"name": "Rex", **pet}}, create.schema)

    assert await problem() == ""
    assert await problem(nullable=None, kind=None, parent=None, age=0.5) == ""
    assert await problem(parent={"name": "Old", "children": [{"name": "Young"}]}) == ""
    assert "is not one of" in await problem(kind="bird")
    assert "less than or equal to the minimum" in await problem(age=0)
    assert "'name' is a required property" in await problem(children=[{"kind": "cat"}])
    made = create.request({"body": {"name": "Rex"}}, "key")
    assert (made.method, made.body) == ("POST", b'{"name": "Rex"}')
    assert made.headers["Content-Type"] == "application/json"


def converted(schema: Any, **components: Any) -> Any:
    return Schemas(References({"components": {"schemas": components}})).schema(schema)


@pytest.mark.parametrize(
    ("schema", "json_schema"),
    [
        (True, True),
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"nullable": True}, {"anyOf": [{}, {"type": "null"}]}),
        (
            {"type": "string", "enum": ["a"], "nullable": True},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        ({"minimum": 1, "exclusiveMinimum": True}, {"exclusiveMinimum": 1}),
        ({"maximum": 1, "exclusiveMaximum": False}, {"maximum": 1}),
        ({"minimum": True}, {}),
        ({"exclusiveMinimum": 3}, {"exclusiveMinimum": 3}),
        ({"pattern": "^a"}, {"description": "Matches ^a"}),
        ({"pattern": "^a", "description": "A."}, {"description": "A. Matches ^a"}),
        ({"patternProperties": {"^a": {}}, "additionalProperties": False}, {}),
        (
            {"properties": {"id": {"readOnly": True}, "a": {}}, "required": ["id", "a"]},
            {"properties": {"a": {}}, "required": ["a"]},
        ),
        ({"xml": {}, "example": 1, "discriminator": {}}, {}),
        ({"minLength": -1, "maxLength": True, "allOf": [], "enum": [], "title": 7}, {}),
        ({"type": "file"}, {}),
        ({"type": ["string", "string"]}, {}),
    ],
)
def test_a_schema_becomes_json_schema(schema: Any, json_schema: Any) -> None:
    assert converted(schema) == json_schema


def test_a_referenced_schema_is_collected_once() -> None:
    document = {"a": {"Pet": {"type": "string"}}, "b": {"Pet": {"type": "null"}}}
    schemas = Schemas(References(document))

    pet = {"$ref": "#/a/Pet"}
    assert schemas.schema({"items": pet, "not": pet}) == {
        "items": {"$ref": "#/$defs/Pet"},
        "not": {"$ref": "#/$defs/Pet"},
    }
    assert schemas.schema({"$ref": "#/b/Pet"}) == {"$ref": "#/$defs/Pet_1"}
    assert schemas.definitions() == {"Pet": {"type": "string"}, "Pet_1": {"type": "null"}}


def test_a_reference_is_a_json_pointer() -> None:
    references = References({"a/b": [{"~1": 3}], "c d": 4})

    assert references.at("#/a~1b/0/~01") == 3
    assert references.at("#/c%20d") == 4
    for missing in ("#/a", "#/a~1b/1", "#/a~1b/x"):
        with pytest.raises(InvalidApi, match="which does not exist"):
            references.at(missing)
    with pytest.raises(InvalidApi, match="another document") as caught:
        references.at("https://a.test/x.yaml#/x")
    assert "redocly bundle" in caught.value.hint


def test_references_in_a_circle_have_an_end() -> None:
    references = References({"a": {"$ref": "#/b"}, "b": {"$ref": "#/a"}})
    with pytest.raises(InvalidApi, match="refers to itself"):
        references.follow({"$ref": "#/a"})


def test_a_schema_has_a_maximum_size_and_depth() -> None:
    assert converted(nested(MAX_DEPTH))
    with pytest.raises(InvalidApi, match="too large"):
        converted(nested(MAX_DEPTH + 1))
    assert converted({"enum": list(range(MAX_NODES - 1))})
    assert converted({"prefixItems": [{}] * (MAX_NODES - 1)})
    with pytest.raises(InvalidApi, match="too large"):
        converted({"prefixItems": [{}] * MAX_NODES})
