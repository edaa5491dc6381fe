"""Shortens a message to one line, for people."""

from __future__ import annotations

import json
from typing import Any, cast

from agentd.protocol.message import AgentMessage

# Fields of agentd's own events that are left out: the subject has them, or only agentd needs them.
_BOOKKEEPING = {"event", "task", "life", "taskSequence", "delivery"}


def gist(message: AgentMessage, width: int = 100) -> str:
    """The content of a message in one line of at most `width` characters."""
    payload = message.payload
    content: Any = payload.chunk if message.type == "stream" else payload.content
    if message.type == "result" and isinstance(content, dict):
        content = content.get("data") if content.get("success") else content.get("error")
    if message.type == "event" and isinstance(content, dict) and "event" in content:
        content = _event(cast("dict[str, Any]", content))
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def _event(content: dict[str, Any]) -> str:
    """The name of one of agentd's events, and its other fields."""
    fields = {key: value for key, value in content.items() if key not in _BOOKKEEPING}
    return f"{content['event']} {json.dumps(fields, ensure_ascii=False)}"
