"""An agent as one edit left it: its spec, its models and its tools."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentd.errors import ModelError
from agentd.message import AgentMessage
from agentd.model import Model
from agentd.spec import AgentSpec
from agentd.toolbox import Toolbox


@dataclass(frozen=True)
class Revision:
    """What answers a task from its delivery to its end; `models` has the first choice first."""

    spec: AgentSpec
    models: tuple[Model, ...]
    toolbox: Toolbox = field(default_factory=Toolbox)

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
