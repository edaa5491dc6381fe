"""The chat that a run begins with: the prompt, what was said before, and the message itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from agentd.message import AgentMessage
from agentd.model import Model
from agentd.revision import Revision
from agentd.spec import AgentSpec


def template_context(
    revision: Revision, model: Model, message: AgentMessage, now: float
) -> dict[str, Any]:
    """What a prompt can name: `agent`, `message`, `content`, `context` and `now`."""
    manifest = revision.spec.manifest
    wire: dict[str, Any] = message.model_dump(mode="json", by_alias=True)
    return {
        "agent": {
            "name": revision.spec.name,
            "description": manifest.description,
            "capabilities": list(manifest.capabilities),
            "model": model.name,
        },
        "message": wire,
        "content": wire["payload"]["content"],
        "context": wire["context"],
        "now": datetime.fromtimestamp(now, UTC),
    }


def conversation(
    spec: AgentSpec, message: AgentMessage, context: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The chat that the model is shown: the prompt, what was said before, and this message.

    Raises:
        PromptError: the prompt cannot be rendered for this message.
    """
    return [
        {"role": "system", "content": spec.prompt.render(context)},
        *_history(message),
        {"role": "user", "content": _user_turn(spec, message, context)},
    ]


def _history(message: AgentMessage) -> list[dict[str, Any]]:
    """The turns that the sender attached. Whoever sends a message is no author of prompts: only
    what users and assistants said is taken."""
    turns = [
        {"role": turn.role, "content": turn.content}
        for turn in message.context.history
        if turn.role in ("user", "assistant")
    ]
    most = message.context.max_history
    return turns if most is None else turns[len(turns) - min(most, len(turns)) :]


def _user_turn(spec: AgentSpec, message: AgentMessage, context: Mapping[str, Any]) -> str:
    if spec.input is not None:
        return spec.input.render(context)
    content = message.payload.content
    if isinstance(content, str):
        return content
    if isinstance(content, dict) and isinstance(content.get("instruction"), str):
        return content["instruction"]
    return json.dumps(content, ensure_ascii=False)
