"""Marks for the cache of a provider, found in a chat and taken out for a server without one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MARK = "cache_control"


def are_in(messages: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a chat has marks."""
    return any(MARK in message or any(map(_has_mark, _parts(message))) for message in messages)


def taken_out(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The chat without marks; a text that became a part to be marked is a text again."""
    return [_unmarked(message) if are_in([message]) else message for message in messages]


def _unmarked(message: Mapping[str, Any]) -> Mapping[str, Any]:
    plain = {name: value for name, value in message.items() if name != MARK}
    parts = [_without(part) for part in _parts(message)]
    match parts:
        case []:
            return plain
        case [{"type": "text", "text": str(text)}]:
            return {**plain, "content": text}
        case _:
            return {**plain, "content": parts}


def _parts(message: Mapping[str, Any]) -> list[Any]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _has_mark(part: Any) -> bool:
    return isinstance(part, Mapping) and MARK in part


def _without(part: Any) -> Any:
    if not _has_mark(part):
        return part
    return {name: value for name, value in part.items() if name != MARK}
