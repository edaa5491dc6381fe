"""Redirects: which are followed, and what another host gets of the request."""

from __future__ import annotations

import pytest

from agentd.templates.requests.request import HttpRequest
from agentd.tools.web.fetch import FetchError, redirected

HEADERS = {"Authorization": "secret", "Accept": "*/*", "Content-Type": "text/plain"}
GET = HttpRequest("GET", "https://a.test/x/y?k=1", HEADERS)
POST = HttpRequest("POST", "https://a.test/x", HEADERS, b"body")


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("/z", "https://a.test/z"),
        ("z", "https://a.test/x/z"),
        ("?q=1", "https://a.test/x/y?q=1"),
        ("//a.test/z#part", "https://a.test/z"),
        ("https://user:pass@a.test/z", "https://a.test/z"),
    ],
)
def test_a_redirect_to_the_same_host_keeps_the_headers(target: str, url: str) -> None:
    request = redirected(GET, 302, target)

    assert request.url == url
    assert request.headers["Authorization"] == "secret"


@pytest.mark.parametrize("target", ["https://b.test/z", "https://a.test:444/z", "//b.test"])
def test_another_host_gets_only_harmless_headers(target: str) -> None:
    assert redirected(GET, 302, target).headers == {"Accept": "*/*"}


@pytest.mark.parametrize(
    ("status", "method"),
    [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")],
)
def test_the_status_says_whether_a_post_becomes_a_get(status: int, method: str) -> None:
    request = redirected(POST, status, "/z")

    assert request.method == method
    assert request.body == (b"body" if method == "POST" else None)
    assert ("Content-Type" in request.headers) is (method == "POST")


def test_another_method_stays_unless_the_status_is_303() -> None:
    put = HttpRequest("PUT", "https://a.test/x", {}, b"body")

    assert redirected(put, 302, "/z").method == "PUT"
    assert redirected(put, 303, "/z").method == "GET"


@pytest.mark.parametrize(
    ("request_", "status", "target", "why"),
    [
        (GET, 302, "http://a.test/z", "from https to http"),
        (GET, 302, "ftp://a.test/z", "not http or https"),
        (GET, 302, "http://[broken", "not valid"),
        (POST, 307, "https://b.test/z", "redirects a POST to b.test"),
        (POST, 308, "https://a.test:444/z", "redirects a POST to a.test"),
    ],
)
def test_an_unsafe_redirect_is_refused(
    request_: HttpRequest, status: int, target: str, why: str
) -> None:
    with pytest.raises(FetchError, match=why):
        redirected(request_, status, target)


def test_http_may_redirect_to_https() -> None:
    plain = HttpRequest("GET", "http://a.test/x", {})

    assert redirected(plain, 301, "https://a.test/x").url == "https://a.test/x"
