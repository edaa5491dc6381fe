"""Structured output: an answer as a JSON value, or the correction that the model is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from agentd.errors import AgentdError
from agentd.manifest.json_schema.check import value_error
from agentd.models.port import CORRECTION

_FENCED = re.compile(r"\A\s*```[\w-]*[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)


class Unusable(AgentdError):
    """An answer that is not the required JSON; the text says why."""


async def value_of(text: str, schema: Mapping[str, Any]) -> Any:
    """The JSON value in `text` (with or without a Markdown fence), if it fits `schema`.

    Raises:
        Unusable: the text is not JSON, or the value does not fit.
    """
    fenced = _FENCED.match(text)
    try:
        value = json.loads(fenced[1] if fenced else text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"it is not JSON: {error}") from None
    mistake = await value_error(value, schema)
    if mistake:
        raise Unusable(f"it does not fit the JSON Schema: {mistake}")
    return value


def correction(error: Unusable) -> str:
    """The message that asks the model to correct its answer."""
    return f"{CORRECTION}{error}\nAnswer again, with nothing but the JSON."


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
