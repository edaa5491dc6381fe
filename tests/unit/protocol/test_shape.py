"""A record that anyone may have written: read as its type says, or refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.errors import DecodeError
from agentd.protocol.shape import Shape


@dataclass(frozen=True)
class Entry:
    name: str
    numbers: tuple[float, ...] = ()


shape: Shape[Entry] = Shape(Entry, most=200)


def test_a_record_is_read_and_the_fields_of_later_versions_are_left_out() -> None:
    data = b'{"name": "a", "numbers": [1, 2.5], "later": {"x": 1}}'

    assert shape.parse(data) == Entry("a", (1.0, 2.5))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not JSON"),
        (b"{}", "name: "),
        (b"[]", "should be an object"),
        (b'{"name": 5}', "name: "),
        (b'{"name": "a", "numbers": ["1"]}', "numbers.0: "),
        (b'{"name": "a", "numbers": [NaN]}', "not JSON: NaN"),
        (b'{"name": "a", "numbers": [1e999]}', "too large"),
        (b'{"name": "a", "name": "b"}', "occurs twice"),
        (b'{"name": "\xff"}', "not JSON"),
        (b'{"name": "\\ud800"}', "surrogate"),
        (b"[" * 80 + b"]" * 80, "nested deeper"),
        (b" " * 201, "too many"),
    ],
)
def test_anything_else_is_refused_with_the_mistake(data: bytes, problem: str) -> None:
    with pytest.raises(DecodeError, match=problem):
        shape.parse(data)


@given(st.binary(max_size=250))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        shape.parse(data)
    except DecodeError:
        return
