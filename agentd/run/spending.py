"""The tokens and the money that a task has used: unknown, never 0, if those of one call are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from agentd.errors import AgentdError, ModelError
from agentd.models.port import Completion, Usage


@dataclass
class Spent:
    """The sum of some model calls. `usage` and `cost` (USD) are None if not known."""

    calls: int = 0
    usage: Usage | None = field(default_factory=lambda: Usage(0, 0))
    cost: float | None = 0.0

    def add(self, usage: Usage | None, cost: float | None) -> None:
        """Adds one call."""
        self.calls += 1
        self.usage = self.usage + usage if self.usage and usage else None
        known = self.cost is not None and cost is not None
        self.cost = math.fsum((self.cost or 0.0, cost or 0.0)) if known else None


@dataclass(frozen=True)
class Spending:
    """What one delivery of a task has used.

    `here` is what it has called itself. `total` has also the turns that an earlier delivery has
    recorded.
    """

    here: Spent = field(default_factory=Spent)
    total: Spent = field(default_factory=Spent)

    def called(self, completion: Completion) -> None:
        """Adds a call that was answered."""
        self._add(completion.usage, completion.cost)

    def failed(self, error: BaseException) -> None:
        """Adds a call that failed, if the provider may have answered it. One that was cancelled
        may have been answered too."""
        if isinstance(error, ModelError) and error.may_cost:
            self._add(error.usage, error.cost if error.usage else None)
        elif not isinstance(error, AgentdError):
            self._add(None, None)

    def recorded(self, completion: Completion) -> None:
        """Adds a turn from the journal."""
        self.total.add(completion.usage, completion.cost)

    def _add(self, usage: Usage | None, cost: float | None) -> None:
        self.here.add(usage, cost)
        self.total.add(usage, cost)
