"""HTTP requests and OpenAPI documents in a manifest."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.manifest.http import HttpTool, OpenApi

ProblemOf = Callable[[str], str]


def test_a_request_is_a_get_of_public_addresses_unless_it_says_more() -> None:
    request = HttpTool(url="https://a.example")

    assert (request.method, request.allow_private, request.headers) == ("GET", False, {})
    assert (request.query, request.body, request.pick) == ({}, None, None)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (True, True),
        (False, False),
        ("10.0.0.0/8", ("10.0.0.0/8",)),
        (["10.1.2.3", "wiki.internal"], ("10.1.2.3", "wiki.internal")),
        (["fd00::/8", "a-b.c_d"], ("fd00::/8", "a-b.c_d")),
        ([], ()),
    ],
)
def test_private_addresses_are_allowed_all_or_by_name(written: object, read: object) -> None:
    given = {"url": "http://a", "allow_private": written}

    assert HttpTool.model_validate(given).allow_private == read


@pytest.mark.parametrize("value", ["5", "[5]", "[10.0.0.1/8]", "['a b']", "[10.0.0.999]", "{a: b}"])
def test_another_value_of_allow_private_is_a_problem(problem_of: ProblemOf, value: str) -> None:
    problem = problem_of(f"tools: [{{http: {{url: http://a, allow_private: {value}}}}}]")

    assert "`tools.http.allow_private` must be true, false or a list of hosts" in problem


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{http: {}}", "2:10 `tools.http.url` is missing; "),
        (
            "{http: {url: x, method: get}}",
            "2:33 `tools.http.method` must be `GET`, `POST`, `PUT`, `PATCH` or `DELETE`; ",
        ),
        ("{openapi: {document: 5}}", "2:30 `tools.openapi.document` must be a file or a URL; "),
    ],
)
def test_an_invalid_request_is_a_problem(problem_of: ProblemOf, entry: str, problem: str) -> None:
    assert problem_of(f"tools: [{entry}]").startswith(problem)


@pytest.mark.parametrize(
    ("document", "url"),
    [
        ("https://a.example/openapi.json", "https://a.example/openapi.json"),
        ("petstore.yaml", None),
        ({"openapi": "3.1.0"}, None),
    ],
)
def test_only_a_document_with_a_scheme_is_a_url(document: object, url: str | None) -> None:
    assert OpenApi.model_construct(document=document).url == url
