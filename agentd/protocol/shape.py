"""The shape of a record: strict JSON, checked against a dataclass or another type."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from agentd.errors import DecodeError
from agentd.protocol import strict_json

_T = TypeVar("_T")


class Shape(Generic[_T]):
    """The JSON of one kind of record. Fields that the type does not have are left out, because a
    newer version of agentd may write them.

    `most` is the number of bytes that such a record may have.
    """

    def __init__(self, kind: Any, *, most: int) -> None:
        self._kind = kind
        self._most = most

    def parse(self, data: bytes) -> _T:
        """The record in `data`.

        Raises:
            DecodeError: it is no strict JSON of this shape, or too large.
        """
        if len(data) > self._most:
            raise DecodeError(f"{len(data):,} bytes are too many; the limit is {self._most:,}")
        strict_json.parse(data)  # pydantic's parser takes NaN, and the same key twice
        try:
            return self._adapter.validate_json(data, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise DecodeError(first["msg"], path=".".join(map(str, first["loc"]))) from None

    @cached_property
    def _adapter(self) -> TypeAdapter[_T]:
        # At the first use: making one takes a millisecond, and most processes need few.
        return TypeAdapter(self._kind)
