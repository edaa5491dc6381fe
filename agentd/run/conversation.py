"""The chat that a run begins with: the prompt, the history, and the message."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agentd.catalog.spec import AgentSpec
from agentd.errors import ModelError
from agentd.models.port import ChatRequest, Completion, Model
from agentd.protocol import media
from agentd.protocol.message import AgentMessage
from agentd.run import attachments
from agentd.run.context import RunContext
from agentd.run.history import Past, attached, to_summarize, trimmed
from agentd.run.revision import Revision

# Calls a model for a text that is no turn of the answer, such as a summary.
Ask = Callable[[Model, ChatRequest], Awaitable[Completion]]


@dataclass(frozen=True)
class Opening:
    """The first chat that the model is sent; `asked` is its last turn, the user turn, as text."""

    chat: Sequence[Mapping[str, Any]]
    asked: str


async def begin(
    revision: Revision, model: Model, message: AgentMessage, context: RunContext, *, ask: Ask
) -> Opening:
    """The prompt as the system turn, the history, and this message as the user turn.

    Raises:
        PromptError: the prompt cannot be rendered for this message.
        TaskError: an image or a file of the task cannot be passed to the model (`bad_part`,
            `unsupported_part`, `object_missing`, `object_too_large`).
        BusError: the conversation or a file cannot be read.
    """
    spec, values = revision.spec, template_context(revision, model, message, context.now)
    values["mcp"] = await revision.toolbox.prepare()
    system = {"role": "system", "content": spec.prompt.render(values)}
    if isinstance(message.payload.content, str):
        content = asked = _user_text(spec, message, values)
    else:
        shown = await attachments.contents(context.bus, message.payload.content)
        content = _joined(_user_text(spec, message, values), shown)
        asked = media.in_words(content)
    past = await _past(revision, model, message, context, ask)
    chat = [system, *past, {"role": "user", "content": content}]
    return Opening(chat, asked)


def template_context(
    revision: Revision, model: Model, message: AgentMessage, now: float
) -> dict[str, Any]:
    """The values of a prompt: `agent`, `message`, `content`, `context` and `now`."""
    values = revision.message_context(message, model.name)
    return {**values, "now": datetime.fromtimestamp(now, UTC)}


async def _past(
    revision: Revision, model: Model, message: AgentMessage, context: RunContext, ask: Ask
) -> Sequence[Mapping[str, Any]]:
    """The turns before this message: those that the sender attached, else those on record."""
    limits = revision.spec.manifest.history
    if message.context.history:
        given = attached(message)
        if limits is None:
            return given.chat()
        if given.exchanges:
            return trimmed(given, limits).chat()
    if limits is None:
        return ()

    async def summarize(older: Past) -> str:
        request = ChatRequest(
            messages=to_summarize(older, limits),
            parameters={},
            # The other half of the time is left for the answer, with or without a summary.
            timeout=context.deadline.required() / 2,
            agent=revision.spec.name,
        )
        completion = await ask(revision.summarizer or model, request)
        if not completion.text.strip():
            raise ModelError(f"{completion.model} gave an empty summary", code="model_garbage")
        return completion.text

    past = await context.memory().recall(limits, summarize)
    return past.chat()


def _user_text(spec: AgentSpec, message: AgentMessage, values: Mapping[str, Any]) -> str:
    if spec.input is not None:
        return spec.input.render(values)
    if isinstance(message.payload.content, str):
        return message.payload.content
    content = attachments.without(message.payload.content)
    if isinstance(content, dict) and isinstance(content.get("instruction"), str):
        return content["instruction"]
    if content is None and message.payload.content is not None:
        return ""  # nothing but parts
    return json.dumps(content, ensure_ascii=False)


def _joined(text: str, shown: Sequence[Mapping[str, Any]]) -> Any:
    """The content of the user turn: text if all parts are text, since not every server takes a
    list of parts."""
    said = [{"type": "text", "text": text}, *shown] if text else list(shown)
    if all(part["type"] == "text" for part in said):
        return "\n\n".join(part["text"] for part in said)
    return said
