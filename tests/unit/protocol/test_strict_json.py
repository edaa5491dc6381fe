"""JSON from strangers: what is refused, and what only looks like it."""

from __future__ import annotations

import json

import pytest

from agentd.errors import DecodeError
from agentd.protocol.strict_json import MAX_BYTES, MAX_DEPTH, MAX_VALUES, check_size, parse


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("", "not JSON"),
        ("1 2", "not JSON: Extra data"),
        ("NaN", "not JSON: NaN"),
        ("[-Infinity]", "not JSON: -Infinity"),
        ("1e999", "the number 1e999 is too large"),
        ('{"a": -1e999}', "the number -1e999 is too large"),
        ("9" * 309, "is too large"),
        ("9" * 100_000, "is too large"),
        ('"\\ud800"', "half a surrogate"),
        ('{"\\udfff": 1}', "half a surrogate"),
        ('[{"a": 1, "b": 2, "a": 1}]', "the key 'a' occurs twice in one object"),
        ('{"' + "k" * 1000 + '": 1, "' + "k" * 1000 + '": 2}', "occurs twice"),
    ],
)
def test_json_that_could_be_read_in_two_ways_is_refused(data: str, text: str) -> None:
    with pytest.raises(DecodeError) as refused:
        parse(data.encode())
    assert text in str(refused.value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    "data", [b"\xff", b"\xef\xbb\xbf1", "1".encode("utf-16"), b'"\xed\xa0\x80"', b'"\x00"']
)
def test_only_utf_8_is_json(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not JSON"):
        parse(data)


@pytest.mark.parametrize(
    "data",
    [
        '"\\ud83d\\ude00"',
        '"\\\\ud800"',
        '"\\u0000"',
        "9" * 308,
        "1e308",
        "5e-324",
        "-0.0",
        "[{},{}]",
    ],
)
def test_what_only_looks_wrong_is_taken(data: str) -> None:
    assert parse(data.encode()) == json.loads(data)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_ends_at_the_limit(opening: str, closing: str) -> None:
    def nested(depth: int) -> bytes:
        return (opening * depth + "[]" + closing * depth).encode()

    assert parse(nested(MAX_DEPTH - 1)) == json.loads(nested(MAX_DEPTH - 1))
    for depth in (MAX_DEPTH, MAX_DEPTH + 1, 500, 100_000):
        with pytest.raises(DecodeError, match="nested deeper than 64 levels"):
            parse(nested(depth))


def test_many_shallow_lists_are_not_deep() -> None:
    assert parse(b"[" + b"[]," * 1000 + b"[]]") == [[]] * 1001


def test_an_error_shows_a_long_number_or_key_shortened() -> None:
    with pytest.raises(DecodeError) as refused:
        parse(b"[" + b"7" * 309 + b"]")
    assert str(refused.value) == "the number 777777777777...7777777777777 is too large"
    with pytest.raises(DecodeError) as refused:
        parse(b'"\\ud800"')
    assert str(refused.value) == "half a surrogate pair is not a character"


def test_nesting_is_counted_where_many_values_stand_side_by_side() -> None:
    """The count of brackets alone says nothing: one value is deep, the others are flat."""
    deep = "[" * (MAX_DEPTH - 2) + "]" * (MAX_DEPTH - 2)
    assert len(parse(f"[{deep}, [], [], {{}}]".encode())) == 4
    with pytest.raises(DecodeError, match="nested deeper"):
        parse(f"[[], [[[{deep}]]]]".encode())


def test_size_ends_at_the_limit() -> None:
    largest = b'"' + b"x" * (MAX_BYTES - 2) + b'"'
    assert len(parse(largest)) == MAX_BYTES - 2
    with pytest.raises(DecodeError, match=r"8,388,609 bytes are too many; the limit is 8,388,608"):
        parse(largest + b" ")


@pytest.mark.parametrize(
    "data",
    [
        b"[" + b"[]," * MAX_VALUES + b"[]]",
        b"[" + b"1," * MAX_VALUES + b"1, 1]",
        b"[" + b'{"a": 1},' * (MAX_VALUES // 2) + b"{}, 1]",
        b'["' + b'","' * (2 * MAX_VALUES) + b'"]',
        b"[" * (MAX_VALUES + 1),
    ],
)
def test_values_are_counted_before_they_are_built(data: bytes) -> None:
    """12 messages of 8 MB took 2.6 GB."""
    with pytest.raises(DecodeError, match="it has too many"):
        check_size(data)
    with pytest.raises(DecodeError, match="it has too many"):
        parse(data)


@pytest.mark.parametrize(
    "value",
    [
        ["a, [b], {c}" * 300_000],
        ['"' * 300_000, "," * 300_000],
        ["\\" * 300_000, '\\"' * 300_000, "," * 300_000],
        {str(number): "," for number in range(MAX_VALUES - 1)},
    ],
)
def test_what_only_looks_like_values_is_not_counted(value: object) -> None:
    assert parse(json.dumps(value).encode()) == value
