"""Parameters: how OpenAPI's styles write their values."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.templates.requests.openapi_parameter import Parameter, read_parameters
from agentd.templates.requests.openapi_schema import InvalidApi, References, Schemas


def parameters(*given: Any) -> list[Parameter]:
    references = References({})
    return list(read_parameters(list(given), references, Schemas(references)))


def parameter(place: str, **fields: Any) -> Parameter:
    (only,) = parameters({"name": "p", "in": place, "schema": {}, **fields})
    return only


OBJECT = {"a": 1, "b": "c d"}


@pytest.mark.parametrize(
    ("fields", "value", "pairs"),
    [
        ({}, "x", [("p", "x")]),
        ({}, [1, 2], [("p", "1"), ("p", "2")]),
        ({"explode": False}, [1, 2], [("p", "1,2")]),
        ({"style": "spaceDelimited"}, [1, 2], [("p", "1 2")]),
        ({"style": "pipeDelimited"}, [1, 2], [("p", "1|2")]),
        ({}, OBJECT, [("a", "1"), ("b", "c d")]),
        ({"explode": False}, OBJECT, [("p", "a,1,b,c d")]),
        ({"style": "deepObject"}, {"a": [1, 2]}, [("p[a]", "1"), ("p[a]", "2")]),
        ({"content": {"application/json": {}}}, OBJECT, [("p", '{"a": 1, "b": "c d"}')]),
        ({}, None, [("p", "null")]),
    ],
)
def test_a_query_has_the_pairs_of_its_style(
    fields: dict[str, Any], value: Any, pairs: list[tuple[str, str]]
) -> None:
    assert list(parameter("query", **fields).pairs(value)) == pairs


@pytest.mark.parametrize(
    ("fields", "value", "text"),
    [
        ({}, True, "true"),
        ({}, [1, "a"], "1,a"),
        ({}, OBJECT, "a,1,b,c d"),
        ({"explode": True}, OBJECT, "a=1,b=c d"),
        ({"content": {"application/json": {}}}, [1], "[1]"),
    ],
)
def test_a_path_has_the_text_of_its_style(fields: dict[str, Any], value: Any, text: str) -> None:
    assert parameter("path", **fields).simple(value) == text


def test_a_parameter_of_the_path_is_always_required() -> None:
    assert parameter("path").required
    assert not parameter("query").required
    assert parameter("query", required=True).required
    assert not parameter("query", required="yes").required


def test_the_description_becomes_part_of_the_schema() -> None:
    found = parameter("query", schema={"type": "string"}, description="The city.")

    assert found.schema == {"type": "string", "description": "The city."}


def test_headers_that_openapi_says_to_ignore_are_left_out() -> None:
    names = ("Accept", "Authorization", "Content-Type", "X-Key")

    found = parameters(*({"name": name, "in": "header"} for name in names))
    assert [each.name for each in found] == ["X-Key"]


@pytest.mark.parametrize("given", [{"in": "query"}, {"name": "a", "in": "body"}, {"name": 1}])
def test_a_parameter_has_a_name_and_a_place(given: Any) -> None:
    with pytest.raises(InvalidApi, match="has a parameter without `name` or `in`"):
        parameters(given)
