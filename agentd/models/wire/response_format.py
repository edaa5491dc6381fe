"""How a model receives the schema that its answer must fit: as `response_format`, or in words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agentd.models.wire.chat import joined

_WORDS = "Answer with one JSON value and nothing else. It must fit this JSON Schema:"


def response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The value of OpenAI's parameter `response_format` for a schema.

    Without `strict`: it would refuse schemas that leave `additionalProperties` open.
    """
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def in_words(
    messages: Sequence[Mapping[str, Any]], schema: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """The messages with the schema in words, at the end of the system message.

    If there is no system message, one is put first. A second one is no choice: the chat templates
    of many open models accept only one.
    """
    words = f"{_WORDS}\n{json.dumps(schema, ensure_ascii=False)}"
    if not messages or messages[0].get("role") != "system":
        return [{"role": "system", "content": words}, *messages]
    first, *others = messages
    return [{**first, "content": joined(first["content"], words)}, *others]
