"""The return value of a function as JSON data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

from agentd.errors import AgentdError

MOST = 1_000_000  # characters
DEPTH = 64

_ITEM = 4  # characters that each member of a collection counts besides its content
_BITS = 8_192  # of an integer: Python takes quadratic time to write a long one in decimal


class NoAnswer(AgentdError):
    """The value cannot be given to a model; the text says why."""


def plain(value: Any) -> Any:
    """`value` as JSON data: also sets, generators, dataclasses, pydantic models, dates, paths…

    Raises:
        NoAnswer: it has more than `MOST` characters, or a part that JSON cannot express.
    """
    return _Reading().plain(value, 0)


class _Reading:
    """One walk through a value. It stops as soon as the limit is passed, so that an endless
    generator or a huge list cannot fill the memory."""

    def __init__(self) -> None:
        self._left = MOST

    def plain(self, value: Any, depth: int) -> Any:
        if depth > DEPTH:
            raise NoAnswer(f"the answer is nested deeper than {DEPTH} levels")
        self._spend(_ITEM)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int | float):
            return _number(value)
        if isinstance(value, Mapping):
            pairs = ((str(key), each) for key, each in value.items())
        elif isinstance(value, BaseModel):
            pairs = iter(value)
        elif is_dataclass(value) and not isinstance(value, type):
            pairs = ((field.name, getattr(value, field.name)) for field in fields(value))
        elif isinstance(value, list | tuple | set | frozenset | Iterator):
            return self._list(value, depth)
        else:
            return self._other(value, depth)
        return {self._text(key): self.plain(each, depth + 1) for key, each in pairs}

    def _list(self, values: Iterable[Any], depth: int) -> list[Any]:
        return [self.plain(each, depth + 1) for each in values]

    def _text(self, text: str) -> str:
        self._spend(len(text))
        # Half a surrogate pair cannot be encoded as UTF-8; it becomes a question mark.
        return text.encode(errors="replace").decode()

    def _other(self, value: Any, depth: int) -> Any:
        """Dates, paths, decimals, enumerations: pydantic writes them as text or a number."""
        try:
            leaf = value if isinstance(value, bytes) else to_jsonable_python(value)
        except PydanticSerializationError:
            raise NoAnswer(
                f"the answer has a value of type {type(value).__name__}, which JSON cannot express"
            ) from None
        if isinstance(leaf, bytes):
            self._spend(len(leaf))
            return leaf.decode(errors="replace")
        return self.plain(leaf, depth + 1)

    def _spend(self, characters: int) -> None:
        self._left -= characters
        if self._left < 0:
            raise NoAnswer(f"the answer has more than {MOST:,} characters; ask for less")


def _number(number: int | float) -> Any:
    if isinstance(number, float):
        return number if math.isfinite(number) else str(number)
    if number.bit_length() > _BITS:
        raise NoAnswer(f"the answer has an integer of more than {_BITS:,} bits")
    return int(number)
