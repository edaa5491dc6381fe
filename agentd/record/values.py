"""Values of JSON that any client may have written: each is checked where it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from agentd.errors import DecodeError
from agentd.protocol import strict_json


def object_in(data: bytes) -> Mapping[str, Any]:
    """The JSON object in some bytes; an empty one if they are anything else."""
    try:
        return mapping(strict_json.parse(data))
    except DecodeError:
        return {}


def mapping(value: Any) -> Mapping[str, Any]:
    """An object; an empty one in place of anything else."""
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """A list; an empty one in place of anything else."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def text_of(value: Any) -> str:
    """A text; an empty one in place of anything else."""
    return value if isinstance(value, str) else ""


def name_of(value: Any) -> str:
    """The name of who did something, which is a text or has a `kind` and a `name`."""
    return text_of(value) or text_of(mapping(value).get("name"))


def whole(value: Any) -> int:
    """A count; 0 in place of anything else."""
    return count(value) or 0


def number(value: Any) -> float | None:
    """A number from 0 on; None in place of anything else."""
    is_number = type(value) in (int, float) and 0 <= value < math.inf
    return float(value) if is_number else None


def count(value: Any) -> int | None:
    """A count; None in place of anything else."""
    return value if type(value) is int and value >= 0 else None


def known(**values: Any) -> dict[str, Any]:
    """The values that are known: neither None nor empty. 0 is known."""
    return {name: value for name, value in values.items() if value not in (None, "", [], {})}
