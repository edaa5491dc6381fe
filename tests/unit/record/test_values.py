"""Values of JSON that any client may have written."""

from __future__ import annotations

import math
from typing import Any

import pytest

from agentd.record.values import count, items, known, mapping, number, object_in, text_of, whole


@pytest.mark.parametrize("data", [b"", b"\xff", b"[1]", b"3", b'"x"'])
def test_bytes_that_are_no_object(data: bytes) -> None:
    assert object_in(data) == {}


def test_what_is_of_another_type_is_empty() -> None:
    assert (mapping([]), items({}), text_of(3), whole("3"), whole(-1)) == ({}, [], "", 0, 0)
    assert (mapping({"a": 1}), items([1]), text_of("x"), whole(3)) == ({"a": 1}, [1], "x", 3)
    assert object_in(b'{"a": 1}') == {"a": 1}


@pytest.mark.parametrize("value", [None, "1", True, -1, math.inf, math.nan, [], {}])
def test_what_is_no_number(value: Any) -> None:
    assert number(value) is None
    assert count(value) is None


def test_what_is_a_number() -> None:
    assert (number(0), number(1.5), count(0), count(3), count(1.5)) == (0.0, 1.5, 0, 3, None)


def test_zero_is_known_and_nothing_is_not() -> None:
    assert known(a=0, b=None, c="", d=[], e={}, f=False) == {"a": 0, "f": False}
