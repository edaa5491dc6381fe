"""Requests: an argument stays one value of a URL or a header; bodies by their type."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.templates.requests.request import (
    MAX_BODY,
    MAX_URL,
    Address,
    BadRequest,
    address,
    encoded,
    header,
    header_problem,
    pairs_of,
    plain_url,
    with_body,
)
from agentd.templates.text import compile_text


def url_of(text: str) -> Address:
    return address(compile_text(text))


ARGUMENTS = st.text() | st.sampled_from(
    ["..", ".", "", "../admin", "a/b", "?x=1", "#f", "&y=2", "@evil.test", "%2e%2e", "%2F..",
     "\\..", "//evil.test", "é", "a b", "\r\nX: 1", "\ud800", "..;/", "%252e%252e/", "http://evil.test"]
)  # fmt: skip


@given(ARGUMENTS, ARGUMENTS)
def test_a_value_in_a_url_stays_one_value(city: str, day: str) -> None:
    weather = url_of("https://api.test/v1/{{ city }}/days?day={{ day }}&units=metric")
    try:
        url = urlsplit(weather.url({"city": city, "day": day}))
    except BadRequest:
        return

    assert (url.scheme, url.netloc, url.fragment) == ("https", "api.test", "")
    segments = url.path.split("/")
    assert segments == ["", "v1", segments[2], "days"]
    assert unquote(segments[2]) == city
    assert not {"..", ".", ""} & set(unquote(segments[2]).replace("\\", "/").split("/")) - {""}
    pairs = parse_qsl(url.query, keep_blank_values=True, strict_parsing=True)
    assert pairs == [("day", day), ("units", "metric")]


@given(ARGUMENTS)
def test_a_header_stays_one_header(value: str) -> None:
    try:
        sent = header("X-City", f"in {value}")
    except BadRequest:
        return

    assert sent == f"in {value}".strip()
    assert not {"\r", "\n", "\0"} & set(sent)


@pytest.mark.parametrize("value", ["..", ".", "", "../x", "a/../b", "%2e%2e", "a\\..\\b"])
def test_a_value_cannot_climb_out_of_its_segment(value: str) -> None:
    with pytest.raises(BadRequest, match="`city` is part of the path"):
        url_of("https://api.test/users/{{ city }}").url({"city": value})


def test_a_url_is_encoded_but_otherwise_unchanged() -> None:
    url = "HTTPS://Müsli.test:8443/a%20b/c d/ü?q=1&r=a+b#gone"

    assert plain_url(url) == ("https://xn--msli-0ra.test:8443/a%20b/c%20d/%C3%BC?q=1&r=a+b")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://api.test/", "is not an http or https address"),
        ("https://user:pass@api.test/", "has a user and password"),
        ("https://api.test\\x", "has an invalid host"),
        ("https://api.test:99999/", "has an invalid host: api.test:99999"),
        ("https://api.test.{{ domain }}/x", "takes its host from an argument"),
    ],
)
def test_an_invalid_url_is_refused(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        url_of(url)


def test_a_field_of_the_query_without_a_value_is_left_out() -> None:
    assert url_of("https://a.test/x?a={{ a }}&b=1").url({}) == "https://a.test/x?b=1"
    assert url_of("https://a.test?a={{ a }}").url({}, [("c d", "&")]) == "https://a.test?c%20d=%26"


def test_a_url_has_a_maximum_length() -> None:
    length = len("https://a.test/")
    assert len(url_of("https://a.test/{{ a }}").url({"a": "x" * (MAX_URL - length)})) == MAX_URL
    with pytest.raises(BadRequest, match="would have 16,001 characters"):
        url_of("https://a.test/{{ a }}").url({"a": "x" * (MAX_URL - length + 1)})


def test_half_a_surrogate_pair_cannot_be_sent() -> None:
    for send in (encoded, lambda value: header("A", value)):
        with pytest.raises(BadRequest, match="half a surrogate pair"):
            send("\ud800")


def test_a_list_gives_several_pairs_and_null_none() -> None:
    assert list(pairs_of("a", [1, None, "b"])) == [("a", "1"), ("a", "b")]
    assert list(pairs_of("a", None)) == []


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("X-Key", ""),
        ("Authorization", ""),
        ("HOST", "is set by agentd itself"),
        ("Transfer-Encoding", "is set by agentd itself"),
        ("a b", "is not a valid header name"),
        ("", "is not a valid header name"),
        ("a\n", "is not a valid header name"),
    ],
)
def test_some_headers_cannot_be_set(name: str, problem: str) -> None:
    assert header_problem(name) == problem


@pytest.mark.parametrize(
    ("content", "body", "kind"),
    [
        ({"a": [1, "é"]}, b'{"a": [1, "\\u00e9"]}', "application/json"),
        ("é", "é".encode(), "text/plain; charset=utf-8"),
        (False, b"false", "application/json"),
    ],
)
def test_a_body_has_the_content_type_of_its_content(content: Any, body: bytes, kind: str) -> None:
    request = with_body("POST", "https://a.test", {"A": "b"}, content)

    assert request.body == body
    assert request.headers == {"A": "b", "Content-Type": kind}


def test_a_request_without_content_has_no_body_and_no_content_type() -> None:
    request = with_body("GET", "https://a.test", {}, None)

    assert request.body is None
    assert request.headers == {}


def test_a_body_has_a_maximum_size_and_must_be_json() -> None:
    assert with_body("POST", "https://a.test", {}, "x" * MAX_BODY).body
    with pytest.raises(BadRequest, match="would have 1,000,001 bytes; the limit is 1,000,000"):
        with_body("POST", "https://a.test", {}, "x" * (MAX_BODY + 1))
    with pytest.raises(BadRequest, match="cannot be encoded"):
        with_body("POST", "https://a.test", {}, [float("nan")])
