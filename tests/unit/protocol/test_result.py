"""What a result must say, and what its readers may rely on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentd.errors import DecodeError
from agentd.protocol.result import decode_result

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
