"""The gist of a message, for a line of a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from agentd.protocol.message import AgentMessage

# What an event's subject says already, or what tells people nothing.
_BOOKKEEPING = {"event", "task", "life", "taskSequence", "delivery"}


def gist(message: AgentMessage, width: int = 100) -> str:
    """The gist of a message in one line without control characters."""
    payload = message.payload
    gist: Any = payload.chunk if message.type == "stream" else payload.content
    if message.type == "result" and isinstance(gist, dict):
        gist = gist.get("data") if gist.get("success") else gist.get("error")
    if message.type == "event" and isinstance(gist, dict) and "event" in gist:
        gist = _event(cast("dict[str, Any]", gist))
    text = gist if isinstance(gist, str) else json.dumps(gist, ensure_ascii=False)
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= width else text[: width - 1] + "…"


def _event(content: dict[str, Any]) -> str:
    """Its name, and what it says."""
    said = {key: value for key, value in content.items() if key not in _BOOKKEEPING}
    return f"{content['event']} {json.dumps(said, ensure_ascii=False)}"
