"""`accepts`: whether the content of a message is what an agent takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from agentd.errors import TaskError
from agentd.manifest.json_schema.check import misfit

_LONGEST_PATH = 200  # characters
_is_plain = re.compile(r"[A-Za-z_]\w*").fullmatch


async def require_accepted(agent: str, schema: Mapping[str, Any] | None, content: Any) -> None:
    """Returns if the agent accepts the content.

    Raises:
        TaskError: it does not (`invalid_input`).
    """
    if refused := await refusal(agent, schema, content):
        raise refused


async def refusal(agent: str, schema: Mapping[str, Any] | None, content: Any) -> TaskError | None:
    """Why an agent does not accept a content, with the path to what is wrong; None if it does.
    Without a schema it accepts anything."""
    found = None if schema is None else await misfit(content, schema)
    if found is None:
        return None
    text = f"{agent} does not accept this content: {_place(found.path)}: {found.text}"
    return TaskError(text, code="invalid_input")


def _place(path: Sequence[str | int]) -> str:
    """`payload.content.items[2].price`"""
    steps = (f".{step}" if _is_plain(str(step)) else f"[{step!r}]" for step in path)
    place = "payload.content" + "".join(steps)
    return place if len(place) <= _LONGEST_PATH else f"{place[:_LONGEST_PATH]}…"
