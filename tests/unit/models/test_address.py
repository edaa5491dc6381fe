"""An address that is wrong is named, with what is probably right."""

from __future__ import annotations

import pytest

from agentd.models.address import hint_of, other_scheme, shown, with_scheme, without_call

HOST = "http://127.0.0.1:8080"
NO_PAGE = '{"error": {"message": "File Not Found", "code": 404}}'
NO_MODEL = '{"error": {"message": "model \'x\' not found, try pulling it first"}}'


@pytest.mark.parametrize(
    ("base", "status", "body", "hint"),
    [
        (HOST, 404, NO_PAGE, f"asked for {HOST}/chat/completions; is the API at {HOST}/v1?"),
        (f"{HOST}/v2", 404, "", f"asked for {HOST}/v2/chat/completions; is the API at {HOST}/v1?"),
        (f"{HOST}/v2/", 405, "", f"asked for {HOST}/v2/chat/completions; is the API at {HOST}/v1?"),
        (
            f"{HOST}/v1/chat/completions",
            404,
            NO_PAGE,
            f"asked for {HOST}/v1/chat/completions/chat/completions; write {HOST}/v1",
        ),
        (
            f"{HOST}/chat/completions/",
            404,
            NO_PAGE,
            f"asked for {HOST}/chat/completions/chat/completions; write {HOST}/v1",
        ),
        (
            f"{HOST}/v1/models",
            405,
            "",
            f"asked for {HOST}/v1/models/chat/completions; write {HOST}/v1",
        ),
        (
            f"{HOST}/api/generate",
            404,
            "",
            f"asked for {HOST}/api/generate/chat/completions; write {HOST}/v1",
        ),
        (
            f"{HOST}/v1",
            404,
            NO_MODEL,
            f"asked for {HOST}/v1/chat/completions; check the name of the model",
        ),
        (
            f"{HOST}/v1",
            404,
            NO_PAGE,
            f"asked for {HOST}/v1/chat/completions; check the address and the name of the model",
        ),
        (
            f"{HOST}/v1",
            400,
            "<h1>400 Bad Request</h1>The plain HTTP request was sent to HTTPS port",
            "the server speaks TLS; write https://127.0.0.1:8080/v1",
        ),
        (
            f"{HOST}/v1",
            400,
            "Client sent an HTTP request to an HTTPS server.",
            "the server speaks TLS; write https://127.0.0.1:8080/v1",
        ),
        (f"{HOST}/v1", 400, "Unknown parameter: 'x'.", ""),
        (f"{HOST}/v2", 401, "wrong key", ""),
        (f"{HOST}/v2", 500, "oops", ""),
    ],
)
def test_the_likely_mistake_is_named(base: str, status: int, body: str, hint: str) -> None:
    assert hint_of(base, status, body) == hint


@pytest.mark.parametrize(
    ("base", "cut"),
    [
        (f"{HOST}/v1", None),
        (HOST, None),
        (f"{HOST}/openai/v1/chat/completions?key=1", f"{HOST}/openai/v1"),
        (f"{HOST}/models", f"{HOST}/v1"),
    ],
)
def test_the_name_of_a_call_is_no_part_of_an_address(base: str, cut: str | None) -> None:
    assert without_call(base) == cut


def test_the_other_scheme_is_suggested() -> None:
    assert other_scheme("http://host/v1") == "if it speaks TLS, write https://host/v1"
    assert other_scheme("https://host/v1") == "if it speaks no TLS, write http://host/v1"


def test_an_address_is_shown_without_secrets() -> None:
    assert shown("http://me:s3cret@host:1/v1/?key=s3cret") == "http://host:1/v1"
    assert with_scheme("https://me:s3cret@host/v1", "http") == "http://host/v1"
