"""The body of a new task: every field is checked, and reaches the message."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from agentd.doors.api.models import NewTask, parsed
from agentd.errors import DecodeError


def task(**fields: Any) -> NewTask:
    return parsed(json.dumps({"target": "x", "content": "hi", **fields}).encode(), NewTask)


def wrong(**fields: Any) -> str:
    with pytest.raises(DecodeError) as refused:
        task(**fields)
    return str(refused.value)


def test_the_smallest_task() -> None:
    message = task().message("t1", [], by="ci")
    assert (message.id, message.type, message.source.id) == ("t1", "task", "ci")
    assert message.context.conversation_id == "t1"
    assert message.payload.content == "hi"
    assert message.routing.timeout is None


@pytest.mark.parametrize(
    ("given", "milliseconds"), [(5, 5000), (0.25, 250), ("90s", 90_000), ("5m", 300_000)]
)
def test_a_timeout_is_in_seconds_or_says_its_unit(given: float | str, milliseconds: int) -> None:
    assert task(timeout=given).message("t", [], by="ci").routing.timeout == milliseconds


def test_a_mistake_is_named_with_its_place() -> None:
    assert wrong(priority="5").startswith("priority: ")
    assert wrong(constraints={"maxTokens": -1}).startswith("constraints.maxTokens: ")
    assert wrong(exclusions=["a b"]).startswith("exclusions.0: ")
    assert wrong(replyTo="$JS.API").startswith("replyTo: is no such field; there are target, ")
    assert wrong(timeout=0) == "timeout: must be more than 0 and at most 30 days"
    assert wrong(files=[{"name": "a", "data": "eA==", "type": "x"}]).startswith("files.0.type: ")
    assert wrong(files=[{"name": "a", "data": "eA=="}] * 33).startswith("files: ")


def test_files_become_parts_of_the_content() -> None:
    data = base64.b64encode(b"a,b\n1,2\n").decode()
    asked = task(files=[{"name": "a.csv", "data": data}])
    (file,) = asked.attachments()
    assert file.data == b"a,b\n1,2\n"
    content = asked.message("t", [file], by="ci").payload.content
    assert content["instruction"] == "hi"
    assert content["parts"][0]["name"] == "a.csv"
    with pytest.raises(DecodeError, match="files: a file can be sent with a text"):
        task(content=[1]).message("t", [file], by="ci")


def test_a_file_that_no_model_takes_is_refused() -> None:
    data = base64.b64encode(b"\x00\x01").decode()
    with pytest.raises(DecodeError, match=r"files\[0\] is neither an image"):
        task(files=[{"name": "a.bin", "data": data}]).attachments()
    with pytest.raises(DecodeError, match=r"files\[0\].data: is not base64"):
        task(files=[{"name": "a.bin", "data": "é"}]).attachments()
