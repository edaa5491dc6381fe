"""One run of an agent: from an admitted message to its answer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from agentd.budget import Purse
from agentd.deadline import Deadline
from agentd.errors import ModelError
from agentd.estimate import within
from agentd.message import AgentMessage
from agentd.model import ChatRequest, Completion, Model
from agentd.spec import AgentSpec
from agentd.telemetry import Metrics

# What a sender may set for its own task; anything else is for the manifest to decide.
SENDERS_PARAMETERS = frozenset(
    {
        "frequency_penalty",
        "max_completion_tokens",
        "max_tokens",
        "presence_penalty",
        "reasoning_effort",
        "seed",
        "stop",
        "temperature",
        "top_p",
    }
)


@dataclass(frozen=True)
class Revision:
    """An agent as one edit left it: its spec, and its models, the first choice first."""

    spec: AgentSpec
    models: tuple[Model, ...]

    @property
    def model(self) -> Model:
        return self.models[0]

    def model_for(self, message: AgentMessage) -> Model:
        """The model that the sender asks for, of those that the manifest lists; else the first.

        Raises:
            ModelError: the manifest does not list it (`model_not_allowed`): a sender cannot spend
                what the agent's owner did not allow.
        """
        wanted = message.payload.model
        if wanted is None:
            return self.model
        for model in self.models:
            if model.name == wanted:
                return model
        listed = ", ".join(model.name for model in self.models)
        raise ModelError(
            f"payload.model is {wanted!r}, but {self.spec.name} has {listed}",
            code="model_not_allowed",
        )


async def run(
    revision: Revision,
    message: AgentMessage,
    *,
    deadline: Deadline,
    purse: Purse,
    on_delta: Callable[[str], None] | None,
    now: float,
    metrics: Metrics,
) -> Completion:
    """Renders the prompt and calls the model, within the deadline and for what is in the purse.

    Raises:
        PromptError: the prompt cannot be rendered for this message.
        ModelError: the model gave no usable answer.
        Undeliverable: no time (`expired`) or not enough money or tokens (`budget`) are left.
        BusError: the purse is out of reach; the model was not called.
    """
    model = revision.model_for(message)
    context = template_context(revision, model, message, now)
    request = ChatRequest(
        messages=conversation(revision.spec, message, context),
        parameters={**revision.spec.manifest.parameters, **_allowed(message.payload.parameters)},
        timeout=deadline.required(),
        agent=revision.spec.name,
    )
    request = within(request, message.payload.constraints.max_tokens)

    async def call() -> Completion:
        # Anew: rendering took time, and so may have the wait for money.
        timely = replace(request, timeout=deadline.required())
        return await _measured(model, timely, on_delta, metrics)

    return await purse.pay(model, request, call)


async def _measured(
    model: Model,
    request: ChatRequest,
    on_delta: Callable[[str], None] | None,
    metrics: Metrics,
) -> Completion:
    started = time.monotonic()
    try:
        completion = await model.complete(request, on_delta)
    except ModelError as error:
        metrics.model_call(model.name, error.code, time.monotonic() - started)
        raise
    usage = completion.usage
    metrics.model_call(
        model.name,
        "success",
        time.monotonic() - started,
        input_tokens=usage.input_tokens if usage else 0,
        output_tokens=usage.output_tokens if usage else 0,
        cost=completion.cost,
    )
    return completion


def _allowed(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """The sender's parameters, if they only shape the answer.

    Raises:
        ModelError: one does more, such as naming other credentials (`parameter_not_allowed`).
    """
    for name in parameters:
        if name not in SENDERS_PARAMETERS:
            allowed = ", ".join(sorted(SENDERS_PARAMETERS))
            raise ModelError(
                f"payload.parameters has {name!r}; a sender may set {allowed}",
                code="parameter_not_allowed",
            )
    return parameters


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
    """The chat that the model is shown: the prompt, what was said before, and this message."""
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
