"""The chat that a run begins with: the prompt, the history, and the message."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from agentd.catalog.spec import AgentSpec
from agentd.errors import ModelError
from agentd.manifest.limits import History
from agentd.models.estimate import expected
from agentd.models.port import ChatRequest, Completion, Model
from agentd.protocol import media
from agentd.protocol.message import AgentMessage, short_id
from agentd.run import attachments
from agentd.run.context import RunContext
from agentd.run.history import Past, attached, to_summarize, trimmed, within
from agentd.run.revision import Revision
from agentd.templates.prompts import CONTEXT_NAMES

log = logging.getLogger(__name__)

_SMALLEST_PAST = 50  # tokens; less than this is not worth another call
_ASKED_FOR = History(compact="trim")  # by the sender, of an agent without `history`
_UNLIMITED = History(max_messages=10**6, max_tokens=10**6, keep=1000)

# Calls a model for a text that is no turn of the answer, such as a summary.
Ask = Callable[[Model, ChatRequest], Awaitable[Completion]]


@dataclass(frozen=True)
class Opening:
    """How the chat begins: the prompt, what was said before, and the user turn, also as text."""

    prompt: Mapping[str, Any]
    past: Past | None
    user: Mapping[str, Any]
    asked: str

    @property
    def chat(self) -> list[Mapping[str, Any]]:
        """The turns that the model is sent."""
        return [self.prompt, *(self.past.chat() if self.past else ()), self.user]


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
    spec = revision.spec
    names = spec.prompt.reads | spec.input.reads if spec.input else spec.prompt.reads
    values = template_context(revision, model, message, context.now, names)
    if revision.toolbox.entries:
        values["mcp"] = await revision.toolbox.prepare()
    system = {"role": "system", "content": spec.prompt.render(values)}
    if isinstance(message.payload.content, str):
        content = asked = _user_text(spec, message, values)
    else:
        shown = await attachments.contents(context.bus, message.payload.content)
        content = _joined(_user_text(spec, message, values), shown)
        asked = media.in_words(content)
    user = {"role": "user", "content": content}
    room = _room(revision, model, system, user)
    past = await _past(revision, model, message, context, ask, room)
    return Opening(system, past, user, asked)


async def compacted(
    opening: Opening,
    revision: Revision,
    model: Model,
    message: AgentMessage,
    context: RunContext,
    *,
    ask: Ask,
) -> Opening | None:
    """The opening with half of its past, because the whole does not fit the context of the model.

    None if there is no past that could be left out.

    Raises:
        BusError: the conversation cannot be read.
    """
    tokens = opening.past.tokens if opening.past else 0
    if not tokens:
        return None
    log.info(
        "%s: %d tokens of history do not fit the context of %s",
        short_id(message.id),
        tokens,
        model.name,
    )
    past = None
    if tokens >= 2 * _SMALLEST_PAST:
        past = await _past(revision, model, message, context, ask, tokens // 2)
    # A summary may be as long as what it replaces.
    return replace(opening, past=past if past and past.tokens < tokens else None)


def template_context(
    revision: Revision,
    model: Model,
    message: AgentMessage,
    now: float,
    names: Collection[str] = CONTEXT_NAMES,
) -> dict[str, Any]:
    """The values of a prompt: those of `agent`, `message`, `content`, `context` and `now` that are
    among `names`."""
    if not names:
        return {}
    values = revision.message_context(message, model.name, names)
    return {**values, "now": datetime.fromtimestamp(now, UTC)}


def _room(
    revision: Revision, model: Model, system: Mapping[str, Any], user: Mapping[str, Any]
) -> int | None:
    """The tokens that the past may have beside the rest; None if no prompt was ever too long."""
    size = revision.sizes.of(model.name) if revision.sizes.known else None
    if size is None:
        return None
    rest = ChatRequest((system, user), {}, 0, tools=revision.toolbox.schemas)
    return max(0, size - expected(rest).input_tokens)


async def _past(
    revision: Revision,
    model: Model,
    message: AgentMessage,
    context: RunContext,
    ask: Ask,
    room: int | None,
) -> Past | None:
    """The turns before this message: those that the sender attached, else those on record; if the
    sender asks for the memory of the conversation, both."""
    wanted, limits = message.context.memory, revision.spec.manifest.history
    given = None
    if message.context.history:
        given = attached(await attachments.with_files(context.bus, message))
    if given and not wanted and (given.exchanges or limits is None or wanted is False):
        return trimmed(given, within(limits or _UNLIMITED, room))
    if wanted is False or (limits is None and not wanted):
        return None
    limits = within(limits or _ASKED_FOR, room)

    async def summarize(older: Past) -> str:
        if room is not None:  # what does not fit the model cannot be condensed by it either
            older = trimmed(older, within(_UNLIMITED, room))
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
    if given:
        past = replace(past, exchanges=(*past.exchanges, *given.exchanges))
    return past


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
