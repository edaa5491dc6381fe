"""A model of a list that cannot be called here, for example because its API key is not set."""

from __future__ import annotations

from collections.abc import Callable

from agentd.errors import NotCalled
from agentd.models.port import ChatRequest, Completion, Usage


class UnavailableModel:
    """Raises at every call, with the reason. It keeps its place in the list of models.

    So the other models of the list are called instead, and the result of a task says why.
    """

    is_mock = False

    def __init__(self, name: str, code: str, problem: str) -> None:
        self.name = name
        self._code = code
        self._problem = problem

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        """See `agentd.models.port.Model`. It always raises."""
        raise NotCalled(f"{self.name}: {self._problem}", code=self._code)

    def cost_of(self, usage: Usage) -> float | None:
        """None: it is never called."""
        return None


# Stands in for the model of an agent that calls a tool in its place (`call`).
NO_MODEL = UnavailableModel("", "model_config", "the agent calls no model")
