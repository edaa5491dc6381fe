"""Marks where a provider may cache a prompt (`cache_control`), as Anthropic and others want it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_MARK = {"type": "ephemeral"}


def marked(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The chat with two marks: after the prompt, which every task shares, and after the last
    message, up to which the next turn of this run is the same.

    A provider takes four marks at most. What is not marked is sent as it is.
    """
    chat = list(messages)
    for index in {0, len(chat) - 1} if chat else ():
        chat[index] = _marked(chat[index])
    return chat


def _marked(message: Mapping[str, Any]) -> Mapping[str, Any]:
    content = message.get("content")
    if message.get("role") == "tool":
        return {**message, "cache_control": _MARK}
    # A mark is a part of a content, and an empty text must not have one.
    if isinstance(content, str) and content:
        return {**message, "content": [{"type": "text", "text": content, "cache_control": _MARK}]}
    if isinstance(content, list) and content and isinstance(content[-1], Mapping):
        return {**message, "content": [*content[:-1], {**content[-1], "cache_control": _MARK}]}
    return message
