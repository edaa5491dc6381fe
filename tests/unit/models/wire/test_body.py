"""A body is read as what it is, whatever was asked for and whatever its content type says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentd.errors import ModelError
from agentd.models.failures import Failures
from agentd.models.port import Completion
from agentd.models.wire.answer import AnswerParser
from agentd.models.wire.body import END_GRACE, MAX_BODY, USAGE_GRACE, Body

failures = Failures("openai/x")


class Reading:
    """One body that is read."""

    def __init__(self) -> None:
        self.answer = AnswerParser(failures)
        self.texts: list[str] = []
        self.ends: list[float] = []
        self.body = Body(self.answer, failures, self.texts.append, self.ends.append)

    def read(self, body: bytes, size: int = 7) -> Completion:
        for start in range(0, len(body), size):
            self.body.feed(body[start : start + size])
        self.body.end()
        return self.answer.completion()

    def failure(self, body: bytes) -> ModelError:
        with pytest.raises(ModelError) as caught:
            self.read(body)
        return caught.value


def chunk(text: str = "", finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


WHOLE = {"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]}
STREAM = [chunk("hel"), chunk("lo", "stop")]


def sse(*chunks: Any, end: str = "\n\n", done: bool = True) -> bytes:
    lines = ["data: " + json.dumps(each) + end for each in chunks]
    return "".join([*lines, "data: [DONE]" + end if done else ""]).encode()


@pytest.mark.parametrize(
    "body",
    [
        sse(*STREAM),
        sse(*STREAM, done=False),
        sse(*STREAM, done=False).rstrip(),
        sse(*STREAM, end="\r\n\r\n"),
        sse(*STREAM, end="\r\r"),
        b"\xef\xbb\xbf" + sse(*STREAM),
        b"\n\n: ping\n\n" + sse(*STREAM),
        b"data: null\n\ndata: {}\n\n" + sse(*STREAM),
        sse(*STREAM) + b"data: and then some\n\n",
        json.dumps(WHOLE).encode(),
        b"\xef\xbb\xbf" + json.dumps(WHOLE).encode(),
        b"\n\n" + json.dumps(WHOLE, indent=2).encode() + b"\n",
        b"\n".join(json.dumps(each).encode() for each in STREAM) + b"\n",
    ],
    ids=[
        *("events", "no DONE", "no end of the last event", "CR LF", "CR", "byte order mark"),
        *("a comment first", "empty data", "text after DONE", "JSON", "JSON after a mark"),
        *("JSON with line feeds", "lines of JSON"),
    ],
)
def test_an_answer_is_found_in_any_form(body: bytes) -> None:
    reading = Reading()
    assert reading.read(body).text == "hello" == "".join(reading.texts)


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"", "model_truncated", "is empty"),
        (b" \n ", "model_truncated", "is empty"),
        (b"<html><title>Welcome</title></html>", "model_garbage", "a web page, not JSON"),
        (b"data: gone\n\n", "model_garbage", "not JSON: gone"),
        (b'{"choices": [', "model_garbage", "not JSON"),
        (b'{"detail": "no"}', "model_garbage", "no choices: no"),
        (sse(chunk("hel"), done=False), "model_truncated", "no finish_reason"),
        (sse(chunk("hel")), "model_truncated", "no finish_reason"),
        (sse(*STREAM, done=False)[:-30], "model_truncated", "no finish_reason"),
        (sse(chunk("hel"), {"error": "gone"}), "model_overloaded", "gone"),
        (sse(chunk("hel"), done=False) + b'{"error": {"code": 429}}\n', "model_rate_limited", ""),
        (b'event: error\ndata: {"message": "gone"}\n\n', "model_overloaded", "gone"),
    ],
)
def test_a_body_that_is_no_answer_is_an_error(body: bytes, code: str, words: str) -> None:
    error = Reading().failure(body)
    assert (error.code, error.retryable) == (code, True)
    assert words in str(error)


def test_the_end_is_awaited_only_as_long_as_something_may_follow() -> None:
    reading = Reading()
    reading.read(sse(*STREAM), size=1)
    assert reading.ends == [USAGE_GRACE, END_GRACE]


@pytest.mark.parametrize("start", [b"data: ", b"{", b"\n"])
def test_the_size_of_a_body_is_limited(start: bytes) -> None:
    body = Reading().body
    body.feed(start + b"x" * (MAX_BODY // 2))
    with pytest.raises(ModelError) as caught:
        body.feed(b"x" * MAX_BODY)
    assert caught.value.code == "model_too_large"
