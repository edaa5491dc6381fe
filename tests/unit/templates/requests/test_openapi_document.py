"""OpenAPI documents: valid ones become tools, invalid and hostile ones are errors."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.catalog.catalog import Catalog, load
from agentd.manifest.json_schema.check import schema_error
from agentd.templates.requests.openapi_document import MAX_TOOLS, read_api
from agentd.templates.requests.openapi_schema import InvalidApi
from tests.unit.templates.requests.pets import PETS, api, entry


def test_operations_become_tools() -> None:
    found = {each.name: each.description for each in api().operations}

    assert found == {
        "listPets": "List all pets. With their names.",
        "create_pet": "POST /pets",
        "get_pets_petId_json": "One pet.",
        "create_pet_2": "DELETE /pets/{petId}.json",
    }


def test_a_manifest_chooses_operations_and_their_base_url() -> None:
    chosen = api(allow=["listPets"], base_url="http://127.0.0.1:8000/api")
    assert [each.name for each in chosen.operations] == ["listPets"]
    assert chosen.operations[0].request({}, "").url == "http://127.0.0.1:8000/api/pets"
    assert len(api(deny=["listPets"]).operations) == 3
    with pytest.raises(InvalidApi, match="has no operation `listpet`") as caught:
        api(allow=["listpet"])
    assert caught.value.hint == "did you mean `listPets`?"


def test_tool_names_are_short_ascii_and_unique() -> None:
    paths = {f"/{'x' * 80}/{n}": {"get": {"operationId": "ä" * 3 + "y" * 90}} for n in range(12)}
    found = [each.name for each in api({**PETS, "paths": paths}, name="pets").operations]

    assert len(set(found)) == 12
    assert all(len(f"pets_{name}") <= 64 and name.isascii() for name in found)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "is not an OpenAPI document"),
        ({}, "is not an OpenAPI document"),
        ({"swagger": "2.0"}, "is Swagger 2.0"),
        ({"openapi": "4.0.0", "paths": {}}, "is OpenAPI 4.0.0"),
        ({"openapi": "3.0.0"}, "has no `paths`"),
        ({"openapi": 3.1, "paths": {"/x": None}}, "has no operations"),
        ({**PETS, "servers": []}, "has no URL of its API"),
        ({**PETS, "servers": [{"url": "/v1"}]}, "has no URL of its API"),
        ({**PETS, "servers": [{"url": "https://a b/"}]}, "has an invalid host"),
        (
            {**PETS, "paths": {f"/{n}": {"get": {}} for n in range(10_000)}},
            f"has 10,000 operations; an agent can have at most {MAX_TOOLS}",
        ),
    ],
)
def test_an_unusable_document_is_refused(document: Any, words: str) -> None:
    with pytest.raises(InvalidApi) as caught:
        api(document)

    assert words in str(caught.value)


def nested(depth: int) -> Any:
    schema: Any = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (
            {"requestBody": {"$ref": "#/components/x"}},
            "'#/components/x', which does not exist",
        ),
        ({"requestBody": {"$ref": "other.yaml#/x"}}, "refers to 'other.yaml#/x', another document"),
        ({"requestBody": {"$ref": "#/paths/~1x/post/requestBody"}}, "refers to itself"),
        (
            {"requestBody": {"required": True, "content": {"image/png": {}}}},
            "supported: image/png",
        ),
        ({"parameters": [{"in": "query"}]}, "has a parameter without `name` or `in`"),
        ({"parameters": [{"name": "a", "in": "body"}]}, "has a parameter without `name` or `in`"),
        ({"parameters": ["x"]}, "has another value where an object is required"),
        ({"parameters": [{"name": "a", "in": "query", "schema": 7}]}, "where a schema is required"),
        ({"parameters": [{"name": "a", "in": "query", "schema": nested(80)}]}, "too large"),
        (
            {"parameters": [{"name": f"a{n}", "in": "query"} for n in range(101)]},
            "has 101 parameters",
        ),
        ({"parameters": [{"name": "Host", "in": "header", "required": True}]}, "needs the header"),
    ],
)
def test_an_operation_that_cannot_be_used_is_left_out(
    operation: Mapping[str, Any], words: str
) -> None:
    document = copy.deepcopy(PETS)
    document["paths"]["/x"] = {"post": {"operationId": "x", **operation}}
    found = api(document)

    assert len(found.operations) == 4
    assert words in str(found.left_out["x"])


garbage = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("#/paths"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["$ref", "schema", "name", "in", "content", "type", "properties", "items"]
            )
            | st.sampled_from(["query", "allOf", "application/json", "required", "nullable", "/x"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.data())
def test_any_document_is_read_or_refused(data: st.DataObject) -> None:
    document = copy.deepcopy(PETS)
    place: Any = document
    for _ in range(data.draw(st.integers(0, 7))):
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key]:
            break
        parent, place = place, place[key]
        if data.draw(st.booleans()):
            parent[key] = data.draw(garbage)
            break
    try:
        found = api(document)
    except InvalidApi:
        return
    for each in found.operations:
        assert schema_error(each.schema) == ""


# --- the files


def read(folder: Path, document: Any, openapi: str = "pets.yaml") -> Catalog:
    (folder / "manifests").mkdir(exist_ok=True)
    text = f"capabilities: [a]\ninstructions: Hi.\ntools:\n  - openapi: {openapi}\n"
    (folder / "manifests" / "a.yaml").write_text(text)
    (folder / "manifests" / "pets.yaml").write_text(json.dumps(document))
    return load(folder / "manifests", environ={})


def test_a_document_beside_the_manifest_is_part_of_the_agent(tmp_path: Path) -> None:
    before = read(tmp_path, PETS)
    assert before.problems == ()
    after = read(tmp_path, {**PETS, "servers": [{"url": "https://other.test"}]})
    assert before.agents["a"].revision != after.agents["a"].revision


@pytest.mark.parametrize(
    ("document", "openapi", "place", "words"),
    [
        ({"swagger": "2.0"}, "pets.yaml", "4:14: error", "the document is Swagger 2.0; convert"),
        (PETS, "petz.yaml", "4:14: error", "there is no file"),
        (PETS, "{document: pets.yaml, base_url: pets}", "4:46: error", "`base_url` is not an http"),
        (PETS, "ftp://pets.test/x", "4:14: error", "`document` is not an http or https address"),
        (PETS, "{documnt: pets.yaml}", "4:15: error", "did you mean `document`"),
        (PETS, "{document: pets.yaml, headers: {Host: x}}", "4:52: error", "set by agentd"),
    ],
)
def test_a_problem_has_its_place(
    tmp_path: Path, document: Any, openapi: str, place: str, words: str
) -> None:
    found = read(tmp_path, document, openapi).problems
    (problem,) = [each for each in found if each.file.endswith("a.yaml")]

    assert words in problem.render()
    assert f"a.yaml:{place}" in problem.render()


def test_an_operation_that_is_left_out_is_a_warning(tmp_path: Path) -> None:
    document = copy.deepcopy(PETS)
    document["paths"]["/x"] = {"post": {"requestBody": {"$ref": "elsewhere.yaml"}}}
    catalog = read(tmp_path, document)

    (warning,) = catalog.problems
    assert warning.severity == "warning"
    assert "the operation post_x is left out: it refers to 'elsewhere.yaml'" in warning.text
    assert catalog.agents["a"]


def test_an_agent_may_have_the_maximum_number_of_tools() -> None:
    paths = {f"/{n}": {"get": {}} for n in range(MAX_TOOLS)}

    assert len(api({**PETS, "paths": paths}).operations) == MAX_TOOLS


def test_a_fetched_document_cannot_choose_who_gets_the_credentials() -> None:
    def base_url(server: str, url: str, **fields: Any) -> str:
        declared = entry("https://api.test/openapi.json", **fields)
        found = read_api({**PETS, "servers": [{"url": server}]}, declared, url=url)
        (tool,) = [each for each in found.operations if each.name == "listPets"]
        return tool.request({}, "").url

    url, secret = "https://api.test/openapi.json", {"headers": {"X-Key": "k"}}
    assert base_url("/v1", url, **secret) == "https://api.test/v1/pets"
    assert base_url("https://evil.test", url) == "https://evil.test/pets"
    with pytest.raises(InvalidApi, match=r"of the manifest to https://evil\.test") as caught:
        base_url("https://evil.test", url, **secret)
    assert "if that is intended, write `base_url: https://evil.test`" in caught.value.hint
    # After a redirect, a relative URL is on the host that the document was fetched from.
    with pytest.raises(InvalidApi, match="of the manifest to"):
        base_url("/v1", "https://evil.test/openapi.json", **secret)
    chosen = base_url("/v1", url, base_url="https://other.test", **secret)
    assert chosen == "https://other.test/pets"
