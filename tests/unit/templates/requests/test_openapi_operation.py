"""Operations: the schema of the arguments, and requests that stay in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.templates.requests.openapi_operation import MAX_DESCRIPTION, MAX_PARAMETERS
from agentd.templates.requests.request import BadRequest
from tests.unit.templates.requests.pets import PETS, api, changed, operation


def test_a_request_has_every_parameter_in_its_place() -> None:
    given = {
        "tags": ["a&b", "c"],
        "ids": [1, 2],
        "piped": ["x", "y"],
        "filter": {"age": 3, "by": "name"},
        "form": {"sort": "up"},
        "raw": {"deep": [1]},
        "session": "a;b",
        "X-Tenant": "t1",
    }
    made = operation("listPets").request(given, "key")

    assert made.method == "GET"
    assert made.url == (
        "https://api.pets.test/v1/pets?tags=a%26b&tags=c&ids=1%2C2&piped=x%7Cy"
        "&filter%5Bage%5D=3&filter%5Bby%5D=name&sort=up&raw=%7B%22deep%22%3A%20%5B1%5D%7D"
    )
    assert made.headers["X-Tenant"] == "t1"
    assert made.headers["Cookie"] == "session=a%3Bb"
    one = operation("get_pets_petId_json").request({"petId": 7}, "key")
    assert one.url == "https://api.pets.test/v1/pets/7.json"


@pytest.mark.parametrize(
    ("content", "body", "sent"),
    [
        ("application/x-www-form-urlencoded", {"a": "b c", "d": [1, 2]}, b"a=b+c&d=1&d=2"),
        ("application/vnd.api+json", {"a": 1}, b'{"a": 1}'),
        ("text/plain", "hello", b"hello"),
    ],
)
def test_a_body_is_sent_as_the_document_says(content: str, body: Any, sent: bytes) -> None:
    document = changed(requestBody={"content": {content: {"schema": {}}}})
    made = operation("x", document).request({"body": body}, "key")

    assert made.body == sent
    assert made.headers["Content-Type"] == content


def test_the_model_cannot_change_values_of_the_manifest() -> None:
    given = operation("listPets", headers={"x-tenant": "mine"}, query={"ids": "7"})

    assert {"X-Tenant", "ids"} & set(given.schema["properties"]) == set()
    made = given.request({"tags": ["a"]}, "key")
    assert made.headers["x-tenant"] == "mine"
    assert made.url.endswith("/pets?tags=a&ids=7")


def test_parameters_with_one_name_get_two_arguments() -> None:
    same = [{"name": "id", "in": place, "schema": {}} for place in ("query", "header")]
    document = changed(parameters=[*same, {"name": "body", "in": "query"}], requestBody={
        "content": {"application/json": {}}
    })  # fmt: skip

    assert list(operation("x", document).schema["properties"]) == [
        "id", "id_header", "body", "request_body",
    ]  # fmt: skip


@given(st.data())
def test_any_arguments_make_a_request_to_the_same_place(data: st.DataObject) -> None:
    text = st.text(max_size=6) | st.sampled_from(["..", "", "/", "a/b", "?x", "\r\nA: b"])
    value = (
        text | st.integers() | st.lists(text, max_size=3) | st.dictionaries(text, text, max_size=3)
    )
    for each in api().operations:
        arguments = {name: data.draw(value) for name in each.schema["properties"]}
        try:
            made = each.request(arguments, "key")
        except BadRequest:
            continue
        path = made.url.removeprefix("https://api.pets.test/v1/pets").partition("?")[0]
        assert path.count("/") == (1 if "petId" in each.schema["properties"] else 0)
        assert "#" not in made.url
        assert not any({"\r", "\n"} & set(value) for value in made.headers.values())


def test_an_undeclared_parameter_of_the_path_is_a_required_text() -> None:
    document = {**PETS, "paths": {"/x/{user-id}": {"get": {"operationId": "x"}}}}
    found = operation("x", document)

    assert found.schema["properties"] == {"user-id": {"type": "string"}}
    assert found.schema["required"] == ["user-id"]
    assert found.request({"user-id": "a/b"}, "").url.endswith("/x/a%2Fb")


def test_a_parameter_of_the_operation_replaces_one_of_its_path() -> None:
    shared = {"name": "a", "in": "query", "schema": {"type": "string"}}
    own = {"name": "a", "in": "query", "schema": {"type": "integer"}}
    path = {"parameters": [shared], "get": {"operationId": "x", "parameters": [own]}}
    found = operation("x", {**PETS, "paths": {"/x": path}})

    assert found.schema["properties"] == {"a": {"type": "integer"}}


@pytest.mark.parametrize(
    ("fields", "description"),
    [
        ({}, "POST /x"),
        ({"summary": "Do  it.", "description": "Do it."}, "Do it."),
        ({"summary": "Do it", "description": "Now\n."}, "Do it. Now ."),
        ({"description": "y" * 2000}, "y" * MAX_DESCRIPTION + "…"),
    ],
)
def test_a_description_is_short_and_in_one_line(
    fields: Mapping[str, Any], description: str
) -> None:
    assert operation("x", changed(**fields)).description == description


def test_an_argument_that_is_not_json_makes_no_request() -> None:
    with pytest.raises(BadRequest, match="the body cannot be encoded"):
        operation("create_pet").request({"body": {"name": float("nan")}}, "")


def test_an_operation_may_have_the_maximum_number_of_parameters() -> None:
    parameters = [{"name": f"a{n}", "in": "query"} for n in range(MAX_PARAMETERS)]

    assert len(operation("x", changed(parameters=parameters)).parameters) == MAX_PARAMETERS
