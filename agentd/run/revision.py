"""A revision: one version of an agent, with its spec, its models and its tools."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentd.catalog.spec import AgentSpec
from agentd.errors import ModelError, TaskError
from agentd.models.failover import FailoverModel
from agentd.models.port import Model
from agentd.protocol.message import AgentMessage
from agentd.run.attachments import has_images
from agentd.run.context_size import ContextSizes
from agentd.tools.toolbox import Toolbox

MESSAGE_NAMES = frozenset({"agent", "message", "content", "context"})
_PART = {"content": "payload", "context": "context"}  # of a message: where a value comes from


@dataclass(frozen=True)
class Revision:
    """One version of an agent, ready to run. A task stays on one revision until it ends.

    Attributes:
        models: in the order in which they are tried.
        summarizer: the model that summarises a long history; None means the agent's own model.
        blind: the names of its models that are known to take no images.
        sizes: what the contexts of its models have been seen to take.
    """

    spec: AgentSpec
    models: tuple[Model, ...]
    toolbox: Toolbox = field(default_factory=Toolbox)
    summarizer: Model | None = None
    blind: frozenset[str] = frozenset()
    sizes: ContextSizes = field(default_factory=ContextSizes, compare=False)

    @property
    def model(self) -> Model:
        return self.models[0]

    def model_for(self, message: AgentMessage) -> Model:
        """The model that the sender asks for, if the manifest lists it; by default every model
        whose `when` holds for the message, as a failover list.

        Raises:
            ModelError: the manifest does not list the model (`model_not_allowed`): a sender must
                not spend what the agent's owner did not allow.
            TaskError: no model's `when` holds (`no_model`), or the message has an image and no
                model takes one (`unsupported_part`).
            PromptError: a `when` cannot be evaluated for this message.
        """
        wanted = message.payload.model
        if wanted is None:
            return _as_one(self._sighted(self._fit_for(message), message))
        for model in self.models:
            if model.name == wanted:
                return _as_one(self._sighted([model], message))
        listed = ", ".join(model.name for model in self.models)
        raise ModelError(
            f"payload.model is {wanted!r}, but {self.spec.name} has {listed}",
            code="model_not_allowed",
        )

    def message_context(
        self, message: AgentMessage, model: str, names: Collection[str] = MESSAGE_NAMES
    ) -> dict[str, Any]:
        """The values of an expression or a prompt: those of `agent`, `message`, `content` and
        `context` that are among `names`."""
        manifest, values = self.spec.manifest, dict[str, Any]()
        if "agent" in names:
            values["agent"] = {
                "name": self.spec.name,
                "description": manifest.description,
                "capabilities": list(manifest.capabilities),
                "model": model,
            }
        parts = None if "message" in names else {_PART[name] for name in names if name in _PART}
        if parts == set():
            return values
        wire: dict[str, Any] = message.model_dump(mode="json", by_alias=True, include=parts)
        if parts is None:
            values["message"] = wire
        if "content" in names:
            values["content"] = wire["payload"]["content"]
        if "context" in names:
            values["context"] = wire["context"]
        return values

    def _sighted(self, models: Sequence[Model], message: AgentMessage) -> Sequence[Model]:
        """The models that take images, if the message has one; else all."""
        if not self.blind or not has_images(message.payload.content):
            return models
        able = [model for model in models if model.name not in self.blind]
        if not able:
            names = " and ".join(model.name for model in models)
            text = f"payload.content.parts has an image, and {names} takes no images"
            raise TaskError(text, code="unsupported_part")
        return able

    def _fit_for(self, message: AgentMessage) -> Sequence[Model]:
        conditions = [choice.when for choice in self.spec.manifest.model]
        if not any(conditions):
            return self.models
        context = self.message_context(message, self.model.name)
        fit = [
            model
            for model, when in zip(self.models, conditions, strict=True)
            if when is None or self.spec.expressions[when].evaluate(context)
        ]
        if not fit:
            raise TaskError(
                f"no model of {self.spec.name} takes this message: no `when` is true for it",
                code="no_model",
            )
        return fit


def _as_one(models: Sequence[Model]) -> Model:
    """The models as one. A mock that is alone is enough by itself: it is never away."""
    alone = len(models) == 1 and models[0].is_mock
    return models[0] if alone else FailoverModel(models)
