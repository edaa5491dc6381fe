"""A model of a list that cannot be called here: the others of the list stand in for it."""

from __future__ import annotations

from collections.abc import Callable

from agentd.errors import NotCalled
from agentd.models.port import ChatRequest, Completion, Usage


class AbsentModel:
    """Says why nobody answers by this name, such as that its key is not set."""

    is_mock = False

    def __init__(self, name: str, code: str, problem: str) -> None:
        self.name = name
        self._code = code
        self._problem = problem

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        """See `agentd.models.port.Model`; it always raises."""
        raise NotCalled(f"{self.name}: {self._problem}", code=self._code)

    def cost_of(self, usage: Usage) -> float | None:
        """Not known: nobody is ever paid."""
        return None

    async def close(self) -> None:
        """Nothing to close."""
