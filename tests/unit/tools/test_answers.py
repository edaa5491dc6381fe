"""HTTP answers as the model receives them: JSON, text, anything else, errors."""

from __future__ import annotations

from typing import Any

import pytest
from multidict import CIMultiDict

from agentd.templates.requests.json_path import parse_path
from agentd.tools.answers import SHOWN, answer_of
from agentd.tools.port import ToolError
from agentd.tools.secrets import HIDDEN, Secrets
from agentd.tools.web.fetch import HttpReply

NONE = Secrets([])


def reply(body: bytes = b"", kind: str = "", *, status: int = 200, whole: bool = True) -> HttpReply:
    headers = CIMultiDict({"Content-Type": kind} if kind else {})
    return HttpReply(status, "Reason", headers, body, whole, "https://api.test/x?k=1")


@pytest.mark.parametrize(
    ("body", "kind", "answer"),
    [
        (b'{"a": [1]}', "application/json", {"a": [1]}),
        (b'{"a": 1}', "application/problem+json; charset=utf-8", {"a": 1}),
        (b'{"a": ', "application/json", '{"a": '),
        (b'{"a": 1}', "text/plain", '{"a": 1}'),
        (b"<a/>", "application/xml", "<a/>"),
        (b"plain", "", "plain"),
        (b"\xe4", "text/plain; charset=latin-1", "ä"),
        (b"\xe4", "text/plain; charset=none-such", "�"),
        (b"\xe4", "text/plain; charset=zip", "�"),
        (b"\\ud800", "text/plain; charset=unicode_escape", "\\ud800"),
        (b"\x89PNG", "image/png", "the answer is not text: image/png, 4 bytes"),
        (b"a\0b", "", "the answer is not text: unknown type, 3 bytes"),
        (b"", "", "done: 200 Reason"),
        (b"", "application/json", "done: 200 Reason"),
    ],
)
def test_an_answer_is_data_text_or_described(body: bytes, kind: str, answer: Any) -> None:
    assert answer_of(reply(body, kind), NONE) == answer


@pytest.mark.parametrize("status", [200, 201, 299])
def test_2xx_is_a_success(status: int) -> None:
    assert answer_of(reply(b"ok", status=status), NONE) == "ok"


@pytest.mark.parametrize("status", [199, 300, 404, 500])
def test_another_status_is_an_error_with_the_body(status: int) -> None:
    with pytest.raises(ToolError) as caught:
        answer_of(reply(b" no such city ", status=status), NONE)
    assert str(caught.value) == f"api.test answered {status} Reason: no such city"

    with pytest.raises(ToolError) as caught:
        answer_of(reply(b"\x89", "image/png", status=status), NONE)
    assert str(caught.value) == f"api.test answered {status} Reason"


def test_the_body_of_an_error_is_cut() -> None:
    with pytest.raises(ToolError) as caught:
        answer_of(reply(b"x" * (SHOWN + 1), status=500), NONE)
    assert str(caught.value).count("x") == SHOWN


def test_a_long_answer_is_marked_as_cut() -> None:
    assert answer_of(reply(b'{"a": 1', "application/json", whole=False), NONE) == (
        '{"a": 1\n[cut after 7 bytes]'
    )
    binary = reply(b"\x89PNG", "image/png", whole=False)
    assert answer_of(binary, NONE) == "the answer is not text: image/png, over 4 bytes"


def test_secrets_are_hidden_in_text_data_and_errors() -> None:
    secrets = Secrets(["key-123456"])

    assert answer_of(reply(b"key-123456"), secrets) == HIDDEN
    assert answer_of(reply(b'["key-123456"]', "application/json"), secrets) == [HIDDEN]
    with pytest.raises(ToolError, match=r"Reason: \[secret\]$"):
        answer_of(reply(b"key-123456", status=401), secrets)


def test_a_secret_at_the_cut_is_hidden_before_the_cut() -> None:
    body = b"x" * (SHOWN - 5) + b"key-123456"

    with pytest.raises(ToolError) as caught:
        answer_of(reply(body, status=500), Secrets(["key-123456"]))
    assert "key-1" not in str(caught.value)


def test_pick_takes_a_part_of_json() -> None:
    path = parse_path("a[0].b")

    assert answer_of(reply(b'{"a": [{"b": 3}]}'), NONE, path) == 3


@pytest.mark.parametrize(
    ("body", "whole", "words"),
    [
        (b'{"a": 1}', True, "the answer has nothing at `a.b`: "),
        (b"<a/>", True, "the answer of api.test is not valid JSON: "),
        (b'{"a": {"b": 1}}', False, "more than 15 bytes; ask for less"),
    ],
)
def test_pick_fails_without_a_match_or_json(body: bytes, whole: bool, words: str) -> None:
    with pytest.raises(ToolError, match=words):
        answer_of(reply(body, whole=whole), NONE, parse_path("a.b"))
