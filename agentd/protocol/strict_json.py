"""Strict JSON from untrusted senders: bounded, and with one possible reading."""

from __future__ import annotations

import json
import re
import reprlib
from collections import Counter
from typing import Any, Final

from agentd.errors import DecodeError

MAX_BYTES: Final = 8 * 1024 * 1024
MAX_DEPTH: Final = 64
MAX_VALUES: Final = 200_000  # the objects of `[[],[],…]` take 25 times the memory of the text
MAX_DIGITS: Final = 308  # what a double can hold, and int() still parses quickly


def parse(data: bytes, *, most: int = MAX_BYTES) -> Any:
    """The value in `data`: UTF-8, no duplicate keys, only numbers that a double can hold.

    Raises:
        DecodeError: `data` is not such JSON, has over `most` bytes or over MAX_VALUES values, or is
            nested deeper than MAX_DEPTH.
    """
    check_size(data, most=most)
    try:
        value = _decoder.decode(str(data, "utf-8"))
    except ValueError as error:
        raise DecodeError(f"not JSON: {error}") from None
    except RecursionError:
        raise _too_deep() from None
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH:
        _check_depth(value)
    if _escaped_surrogate(data):
        _check_characters(value)
    return value


def check_size(data: bytes, *, most: int = MAX_BYTES) -> None:
    """Checks what `data` will take as values, before any of them is built.

    Raises:
        DecodeError: it has over `most` bytes or over MAX_VALUES values.
    """
    if len(data) > most:
        raise DecodeError(f"{len(data):,} bytes are too many; the limit is {most:,}")
    # Counting in texts as well is fast, and enough for almost all data.
    if _marks(data) > MAX_VALUES and _marks(_without_texts(data)) > MAX_VALUES:
        raise DecodeError(f"it has too many values; the limit is {MAX_VALUES:,}")


def _without_texts(data: bytes) -> bytes:
    """What stands outside the texts in `data`.

    Raises:
        DecodeError: it has more texts than it may have values and names of values.
    """
    unescaped = data.replace(rb"\\", b"").replace(rb"\"", b"")
    if unescaped.count(b'"') > 4 * MAX_VALUES:  # two quotes a text
        raise DecodeError(f"it has too many texts; the limit is {2 * MAX_VALUES:,}")
    return b"".join(unescaped.split(b'"')[::2])


def _marks(data: bytes) -> int:
    """The commas and opening brackets: at least as many as there are values, less one."""
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        key, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise DecodeError(f"the key {reprlib.repr(key)} occurs twice in one object")
    return members


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise _too_large(text)
    return int(text)


def _fraction(text: str) -> float:
    number = float(text)
    if abs(number) == float("inf"):
        raise _too_large(text)
    return number


def _constant(text: str) -> float:
    raise DecodeError(f"not JSON: {text}")


def _check_depth(value: Any) -> None:
    # Level by level: with recursion, the interpreter's own limit would decide.
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        members = (m for part in level for m in (part.values() if isinstance(part, dict) else part))
        level = [member for member in members if isinstance(member, (dict, list))]
        if not level:
            return
    raise _too_deep()


def _check_characters(value: Any) -> None:
    """Refuses half a surrogate pair: UTF-8 cannot encode it, so the value could not be sent on."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise DecodeError("half a surrogate pair is not a character") from None


def _too_large(text: str) -> DecodeError:
    return DecodeError(f"the number {reprlib.repr(text)[1:-1]} is too large")


def _too_deep() -> DecodeError:
    return DecodeError(f"nested deeper than {MAX_DEPTH} levels")


_escaped_surrogate = re.compile(rb"\\u[dD][89a-fA-F]").search
_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_fraction, parse_constant=_constant
)
