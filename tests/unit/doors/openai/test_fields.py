"""The fields of a request: the right type, or an error with the name of the field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agentd.doors.openai import fields
from agentd.doors.openai.errors import BadRequest
from agentd.protocol.fields import SendersTool


def test_null_is_as_good_as_nothing() -> None:
    assert fields.items(None, "a") == ()
    assert fields.obj(None, "a") == {}
    assert fields.flag({"a": None}, "a") is False


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (fields.text, 5),
        (fields.text, None),
        (fields.items, {}),
        (fields.items, "abc"),
        (fields.obj, []),
        (lambda value, param: fields.flag({param: value}, param), "true"),
    ],
)
def test_another_type_is_refused(read: Callable[[Any, str], Any], value: Any) -> None:
    with pytest.raises(BadRequest, match=r"^a\.b must be") as refused:
        read(value, "a.b")
    assert (refused.value.status, refused.value.param) == (400, "a.b")


def test_a_part_of_a_message_is_checked_by_the_protocol() -> None:
    assert fields.made(SendersTool, {"name": "now"}, "tools[0]").name == "now"
    with pytest.raises(BadRequest, match=r"^tools\[0\]\.name ") as refused:
        fields.made(SendersTool, {"name": "not a name"}, "tools[0]")
    assert refused.value.param == "tools[0].name"
