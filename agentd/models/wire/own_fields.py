"""Fields that a model wants back with its turn, such as its reasoning or a signature of it.

A thinking model that called tools is sent its turn again with the answers of the tools. DeepSeek
and Kimi then want `reasoning_content`, OpenRouter `reasoning_details`, Anthropic `thinking_blocks`,
Gemini `extra_content` of the call. Each refuses the request without its field, and many servers
refuse a field that is not theirs. So a field goes back under its name, and only to its model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from agentd.models.wire.text import text_of

_OWN = re.compile("reason|think|thought|signature|extra_content|provider_specific")
CALL = ("id", "type", "index", "function")
_FUNCTION = ("name", "arguments", "index")


def of_turn(message: Mapping[str, Any]) -> dict[str, Any]:
    """The own fields of a message, or of a piece of one."""
    return {name: value for name, value in message.items() if _OWN.search(name) and _says(value)}


def of_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """The own fields of a tool call; those of its function are under `function`."""
    found = {name: value for name, value in call.items() if name not in CALL and _says(value)}
    function = call.get("function")
    if isinstance(function, Mapping):
        others = {name: value for name, value in function.items() if name not in _FUNCTION}
        inner = {name: value for name, value in others.items() if _says(value)}
        if inner:
            found["function"] = inner
    return found


def names(messages: Iterable[Mapping[str, Any]]) -> set[str]:
    """The names of all own fields in a chat."""
    found = set[str]()
    for message in messages:
        for call in message.get("tool_calls") or ():
            found |= of_call(call).keys()
            found |= of_turn(message).keys()
    return found


def _says(value: Any) -> bool:
    """Whether a field has any content. litellm adds `{"refusal": None}` and the like."""
    return any(map(_says, value.values())) if isinstance(value, Mapping) else bool(value)


def joined(pieces: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The own fields of all pieces of a stream as those of one message: texts and lists grow."""
    values: dict[str, list[Any]] = {}
    for piece in pieces:
        for name, value in piece.items():
            values.setdefault(name, []).append(value)
    return {name: _joined(parts) for name, parts in values.items()}


def _joined(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, str) for part in parts):
        return "".join(parts)
    if all(isinstance(part, list) for part in parts):
        return _blocks([block for part in parts for block in part])
    if all(isinstance(part, Mapping) for part in parts):
        return joined(parts)
    return parts[-1]


def _blocks(pieces: list[Any]) -> list[Any]:
    """Blocks of reasoning. A stream splits each into pieces, of which the last has a signature."""
    groups: list[list[Any]] = []
    for piece in pieces:
        if groups and _continues(groups[-1][-1], piece):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return [group[0] if len(group) == 1 else _block(group) for group in groups]


def _continues(last: Any, piece: Any) -> bool:
    if not isinstance(last, Mapping) or not isinstance(piece, Mapping):
        return False
    same = all(last.get(key) == piece.get(key, last.get(key)) for key in ("type", "index"))
    return same and not last.get("signature") and "data" not in piece


def _block(pieces: list[Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for piece in pieces:
        fields |= {key: value for key, value in piece.items() if value is not None}
    for key in ("text", "thinking", "summary"):
        if isinstance(fields.get(key), str):
            fields[key] = "".join(text_of(piece.get(key)) for piece in pieces)
    return fields
