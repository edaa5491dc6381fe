"""How a model is told the schema that its answer must fit: natively, or in words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

_WORDS = "Answer with one JSON value and nothing else. It must fit this JSON Schema:"


def response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The parameter of OpenAI's API that holds a model to the schema."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def is_refusal(status: int | None, text: str) -> bool:
    """Whether a server means that it does not know `response_format`, or not for this model."""
    return status in (400, 422) and ("response_format" in text or "json_schema" in text)


def in_words(
    messages: Sequence[Mapping[str, Any]], schema: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """The messages with the schema at the end of the system turn, or as one."""
    told = f"{_WORDS}\n{json.dumps(schema, ensure_ascii=False)}"
    if not messages or messages[0].get("role") != "system":
        return [{"role": "system", "content": told}, *messages]
    first, *others = messages
    return [{**first, "content": f"{first['content']}\n\n{told}"}, *others]
