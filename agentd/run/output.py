"""Structured output: the value that an answer is, or what the model is told is wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from agentd.errors import AgentdError
from agentd.manifest.json_schema import value_error
from agentd.models.port import CORRECTION

_FENCED = re.compile(r"\A\s*```[\w-]*[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)


class Unusable(AgentdError):
    """An answer that does not fit; the text says why."""


def value_of(text: str, schema: Mapping[str, Any]) -> Any:
    """The JSON value that `text` is (in a Markdown fence or not), if it fits `schema`.

    Raises:
        Unusable: it is not JSON, or does not fit.
    """
    fenced = _FENCED.match(text)
    try:
        value = json.loads(fenced[1] if fenced else text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"it is not JSON: {error}") from None
    mistake = value_error(value, schema)
    if mistake:
        raise Unusable(f"it does not fit the JSON Schema: {mistake}")
    return value


def correction(error: Unusable) -> str:
    """What a model is told of its answer."""
    return f"{CORRECTION}{error}\nAnswer again, with nothing but the JSON."


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
