"""`http:` entries: their schema, their requests, and their problems."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.manifest.tools import ToolEntry
from agentd.templates.requests.request import BadRequest, HttpRequest
from agentd.templates.requests.request_template import (
    InvalidRequest,
    RequestTemplate,
    compile_request,
    problems_of,
)


def template(url: str = "https://api.test/x", **fields: Any) -> RequestTemplate:
    parameters = fields.pop("parameters", None)
    http = {"url": url, **fields}
    return compile_request(ToolEntry.model_validate({"http": http, "parameters": parameters}))


def made(given: RequestTemplate, **arguments: Any) -> HttpRequest:
    return given.request(arguments, "key-1")


def problems(url: str = "https://api.test/x", **fields: Any) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        template(url, **fields)
    return [problem.text for problem in caught.value.problems]


@pytest.mark.parametrize(
    "url",
    [
        "https://{{ host }}/x",
        "https://{{ host }}",
        "https://api.{{ host }}/x",
        "https://api.test:{{ port }}/x",
        "https://api.test{{ rest }}",
        "https://{{ user }}@api.test/x",
        "{{ url }}",
        "{{ scheme }}://api.test/",
    ],
)
def test_no_argument_chooses_the_host(url: str) -> None:
    assert problems(url) == ["`url` takes its host from an argument"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://api.test/", "is not an http or https address"),
        ("api.test/x", "is not an http or https address"),
        ("https://user:pass@api.test/", "has a user and password"),
        ("https://api.test:99999/", "has an invalid host"),
        ("https://[::1/", "has an invalid host"),
        ("https://api.test/{{ city", "`{{` has no `}}`"),
        ("https://api.test/{% if x %}a{% endif %}", "a `{%` tag cannot stand here"),
        ("https://api.test/{{ city | nonsense }}", "there is no filter `nonsense`"),
    ],
)
def test_an_invalid_url_is_a_problem(url: str, words: str) -> None:
    assert words in problems(url)[0]


def test_the_schema_has_the_names_in_the_templates() -> None:
    given = template(
        "https://api.test/{{ city }}?d={{ day }}",
        method="POST",
        headers={"X-Key": "{{ idempotency_key }}", "X-Lang": "{{ lang | upper }}"},
        body={"note": "about {{ city }}"},
    )

    assert given.schema == {
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("city", "day", "lang")},
        "required": ["city", "day", "lang"],
        "additionalProperties": False,
    }
    assert given.takes_key
    sent = made(given, city="Bonn", day="1", lang="de")
    assert sent.headers["X-Key"] == "key-1"
    assert sent.headers["X-Lang"] == "DE"


PARAMETERS = {
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "default": 3},
        "tags": {"type": "array", "items": {"type": "string"}},
        "units": {"enum": ["metric", "imperial"]},
    },
    "required": ["city"],
}


def test_arguments_keep_their_types_and_missing_ones_are_left_out() -> None:
    given = template(
        "https://api.test/x?u={{ units }}&v=1",
        method="POST",
        parameters=PARAMETERS,
        query={"tag": "{{ tags }}", "unit": "{{ units }}"},
        headers={"X-Units": "{{ units }}"},
        body={"days": "{{ days }}", "tags": "{{ tags }}", "all": [1, "{{ units }}", "{{ city }}"]},
    )

    little = made(given, city="Bonn")
    assert little.url == "https://api.test/x?v=1"
    assert little.headers == {"Content-Type": "application/json"}
    assert json.loads(little.body or b"") == {"days": 3, "all": [1, "Bonn"]}
    much = made(given, city="Bonn", days=5, tags=["a&b", "c"], units="metric")
    assert much.url == "https://api.test/x?u=metric&v=1&tag=a%26b&tag=c&unit=metric"
    assert much.headers["X-Units"] == "metric"
    assert json.loads(much.body or b"") == {
        "days": 5,
        "tags": ["a&b", "c"],
        "all": [1, "metric", "Bonn"],
    }


@pytest.mark.parametrize(
    ("headers", "body", "sent", "kind"),
    [
        ({}, {"a": "{{ a }}"}, b'{"a": "x&y"}', "application/json"),
        ({}, "say {{ a }}", b"say x&y", "text/plain; charset=utf-8"),
        ({}, ["{{ a }}"], b'["x&y"]', "application/json"),
        ({"content-type": "application/xml"}, "<a>{{ a }}</a>", b"<a>x&y</a>", "application/xml"),
        (
            {"Content-Type": "application/x-www-form-urlencoded"},
            {"a": "{{ a }}", "b": [1, 2]},
            b"a=x%26y&b=1&b=2",
            "application/x-www-form-urlencoded",
        ),
    ],
)
def test_a_body_is_encoded_by_its_content_type(
    headers: dict[str, str], body: Any, sent: bytes, kind: str
) -> None:
    request = made(template(method="PUT", headers=headers, body=body), a="x&y")

    assert request.body == sent
    assert [v for name, v in request.headers.items() if name.lower() == "content-type"] == [kind]


def test_all_problems_are_reported_together() -> None:
    found = problems(
        "https://{{ host }}/",
        headers={"Host": "x", "bad name": "y", "Content-Length": "3", "X-A": "{{ tmp }}"},
        method="POST",
        body={"a": ["{{ ("]},
        parameters={"properties": {"temp": {}, "idempotency_key": {}}},
    )

    assert [text.partition(" ")[0].rstrip(":") for text in found] == [
        "`url`", "`headers.Host`", "`headers.bad", "`headers.Content-Length`",
        "`headers.X-A`", "`body.a.0`", "`parameters`",
    ]  # fmt: skip


def test_a_get_has_no_body() -> None:
    assert problems(body={"a": 1}) == ["`body` cannot be sent with GET"]


@pytest.mark.parametrize(
    "arguments",
    [{"x": "a" * 2_000_000}, {"x": float("nan")}, {"x": "\ud800"}],
    ids=["too large", "no JSON", "no character"],
)
def test_arguments_that_cannot_be_sent_make_no_request(arguments: dict[str, Any]) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for headers in ({}, form):
        given = template(method="POST", body={"x": "{{ x }}"}, parameters={"properties": {"x": {}}})
        text = template(method="POST", headers=headers, body="<{{ x }}>")
        for each in (given, text):
            try:
                body = made(each, **arguments).body
            except BadRequest:
                continue
            assert body is not None


@given(st.text() | st.sampled_from(["\r\nX: 1", "\ud800", "é"]))
def test_a_header_with_an_argument_stays_one_header(value: str) -> None:
    try:
        sent = made(template(headers={"X-City": "in {{ city }}"}), city=value).headers["X-City"]
    except BadRequest:
        return

    assert sent == f"in {value}".strip()
    assert not {"\r", "\n", "\0"} & set(sent)


def test_an_argument_cannot_climb_out_of_the_path() -> None:
    with pytest.raises(BadRequest, match="`city` is part of the path"):
        made(template("https://api.test/users/{{ city }}", method="DELETE"), city="../x")


def test_an_entry_without_http_has_no_problems() -> None:
    assert problems_of(ToolEntry.model_validate({"openapi": "pets.yaml"})) == ()
    broken = ToolEntry.model_validate({"http": {"url": "https://a.test", "pick": "a..b"}})
    (problem,) = problems_of(broken)
    assert problem.loc == ("http", "pick")
    assert problem.text == "`pick` is not a valid path from character 2"


def test_a_literal_header_is_checked_at_load() -> None:
    assert problems(headers={"A": "b\x00 {{ x }}"}) == [
        "`headers.A` has a line break or control character"
    ]
