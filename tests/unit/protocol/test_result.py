"""What a result must say, and what its readers may rely on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentd.errors import DecodeError
from agentd.protocol.message import AgentMessage, decode
from agentd.protocol.result import data_of, decode_result, error_of, is_success

ERROR = {"code": "expired", "message": "too late"}


def content_of(content: Any) -> Any:
    body = {"id": "t1", "payload": {"content": content}}
    return decode_result(json.dumps(body).encode()).payload.content


def test_a_success_has_data_and_no_error() -> None:
    assert content_of({"success": True, "data": 5}) == {"success": True, "data": 5, "error": None}
    assert content_of({"success": True, "x": 1})["data"] is None


def test_a_failure_has_a_complete_error_and_data() -> None:
    found = content_of({"success": False, "error": ERROR, "model": "m"})
    assert found == {
        "success": False,
        "data": None,
        "error": {**ERROR, "retryable": False},
        "model": "m",
    }


@pytest.mark.parametrize("error", [None, "no", [], {"code": 5, "message": "x"}, {"code": "x"}])
def test_an_error_of_another_shape_is_shown_as_it_is(error: Any) -> None:
    found = content_of({"success": False, "error": error})["error"]
    assert found == {"code": "unknown", "message": json.dumps(error), "retryable": False}


def test_such_an_error_is_shortened() -> None:
    assert len(content_of({"success": False, "error": "x" * 9_000})["error"]["message"]) == 1_000


@pytest.mark.parametrize("content", [None, 5, [], {}, {"success": "maybe"}, {"success": 1}])
def test_what_does_not_say_how_the_task_ended_is_no_result(content: Any) -> None:
    with pytest.raises(DecodeError, match="does not say whether the task succeeded"):
        content_of(content)


@pytest.mark.parametrize("data", [b"", b"{", b'{"type": "event", "payload": {"content": {}}}'])
def test_other_bytes_are_no_result(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_result(data)


def read(type: str, content: Any) -> AgentMessage:  # noqa: A002
    data = json.dumps({"id": "t1", "type": type, "payload": {"content": content}}).encode()
    return decode_result(data) if type == "result" else decode(data)


def test_what_a_fact_says_to_one_who_waits_for_it() -> None:
    done = read("result", {"success": True, "data": {"a": 1}})
    failed = read("result", {"success": False, "error": {**ERROR, "code": "c" * 100}})
    event = read("event", {"success": False})
    assert [is_success(each) for each in (done, failed, event)] == [True, False, True]
    assert [data_of(each) for each in (done, failed, event)] == [{"a": 1}, None, {"success": False}]
    assert error_of(failed) == ("c" * 64, "too late")
