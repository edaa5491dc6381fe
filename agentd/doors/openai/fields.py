"""Reads the fields of a request, which anyone may have written; an error names the field."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from agentd.doors.openai.errors import BadRequest

_Part = TypeVar("_Part", bound=BaseModel)

Object = Mapping[str, Any]


def text(value: Any, param: str) -> str:
    """A text.

    Raises:
        BadRequest: it is none.
    """
    if not isinstance(value, str):
        raise BadRequest(param, f"must be a text, not {reprlib.repr(value)}")
    return value


def items(value: Any, param: str) -> Sequence[Any]:
    """A list; null is an empty one.

    Raises:
        BadRequest: it is none.
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadRequest(param, f"must be a list, not {reprlib.repr(value)}")
    return value


def obj(value: Any, param: str) -> Object:
    """An object; null is an empty one.

    Raises:
        BadRequest: it is none.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(param, f"must be an object, not {reprlib.repr(value)}")
    return value


def flag(body: Object, name: str) -> bool:
    """A field that is true or false; false if it is missing or null.

    Raises:
        BadRequest: it is neither.
    """
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadRequest(name, f"must be true or false, not {reprlib.repr(value)}")
    return bool(value)


def made(kind: type[_Part], values: Object, param: str) -> _Part:
    """A part of a message with these values.

    Raises:
        BadRequest: the protocol does not allow one of them.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, (param, *first["loc"])))
        raise BadRequest(place, first["msg"].removeprefix("Input ")) from None
