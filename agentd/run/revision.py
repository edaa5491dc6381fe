"""An agent as one edit left it: its spec, its models and its tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from agentd.catalog.spec import AgentSpec
from agentd.errors import ModelError, TaskError
from agentd.models.failover import FailoverModel
from agentd.models.port import Model
from agentd.protocol.message import AgentMessage
from agentd.run.attachments import has_images
from agentd.tools.toolbox import Toolbox


@dataclass(frozen=True)
class Revision:
    """What answers a task from its delivery to its end.

    Attributes:
        models: the first choice first.
        summarizer: condenses a long history; None where the agent's own model does.
        blind: the names of its models that are known to take no images.
    """

    spec: AgentSpec
    models: tuple[Model, ...]
    toolbox: Toolbox = field(default_factory=Toolbox)
    summarizer: Model | None = None
    blind: frozenset[str] = frozenset()

    @property
    def model(self) -> Model:
        return self.models[0]

    def model_for(self, message: AgentMessage) -> Model:
        """The model that the sender asks for, of those that the manifest lists; else the first that
        is for such a message, with the others to stand in for it.

        Raises:
            ModelError: the manifest does not list it (`model_not_allowed`): a sender cannot spend
                what the agent's owner did not allow.
            TaskError: no model is for such a message (`no_model`), or it has an image, and they
                are known to take none (`unsupported_part`).
            PromptError: a `when` cannot be evaluated for it.
        """
        wanted = message.payload.model
        if wanted is None:
            return FailoverModel(self._sighted(self._fit_for(message), message))
        for model in self.models:
            if model.name == wanted:
                return FailoverModel(self._sighted([model], message))
        listed = ", ".join(model.name for model in self.models)
        raise ModelError(
            f"payload.model is {wanted!r}, but {self.spec.name} has {listed}",
            code="model_not_allowed",
        )

    def message_context(self, message: AgentMessage, model: str) -> dict[str, Any]:
        """What an expression or a prompt can name: `agent`, `message`, `content`, `context`."""
        manifest = self.spec.manifest
        wire: dict[str, Any] = message.model_dump(mode="json", by_alias=True)
        return {
            "agent": {
                "name": self.spec.name,
                "description": manifest.description,
                "capabilities": list(manifest.capabilities),
                "model": model,
            },
            "message": wire,
            "content": wire["payload"]["content"],
            "context": wire["context"],
        }

    def _sighted(self, models: Sequence[Model], message: AgentMessage) -> Sequence[Model]:
        """Those of them that take the images of the message, if it has some."""
        if not self.blind or not has_images(message.payload.content):
            return models
        able = [model for model in models if model.name not in self.blind]
        if not able:
            names = " and ".join(model.name for model in models)
            text = f"payload.content.parts has an image, and {names} takes none"
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
                f"no model of {self.spec.name} is for this message: no `when` is true of it",
                code="no_model",
            )
        return fit
