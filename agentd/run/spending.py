"""The tokens and the money that a task has used: unknown, never 0, if those of one call are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from agentd.errors import AgentdError, ModelError
from agentd.models.port import Completion, Usage

_NOTHING = Usage(0, 0)


@dataclass
class Spent:
    """The sum of some model calls. `usage` and `cost` (USD) are None if not known."""

    calls: int = 0
    usage: Usage | None = _NOTHING
    cost: float | None = 0.0

    def add(self, usage: Usage | None, cost: float | None, *, calls: int = 1) -> None:
        """Adds one call, or the sum of several."""
        self.calls += calls
        self.usage = self.usage + usage if self.usage and usage else None
        known = self.cost is not None and cost is not None
        self.cost = math.fsum((self.cost or 0.0, cost or 0.0)) if known else None


@dataclass(frozen=True)
class Spending:
    """What one delivery of a task has used.

    `here` is what it has called itself, `before` the turns that an earlier delivery has recorded.
    """

    here: Spent = field(default_factory=Spent)
    before: Spent = field(default_factory=Spent)

    @property
    def total(self) -> Spent:
        """Both together."""
        if not self.before.calls:
            return self.here
        total = replace(self.here)
        total.add(self.before.usage, self.before.cost, calls=self.before.calls)
        return total

    def called(self, completion: Completion) -> None:
        """Adds a call that was answered, with the attempts that failed before."""
        _add(self.here, completion)

    def failed(self, error: BaseException) -> None:
        """Adds a call that failed, if the provider may have answered it. One that was cancelled
        may have been answered too."""
        if isinstance(error, ModelError) and error.may_cost:
            self.here.add(error.usage, error.cost if error.usage else None)
        elif not isinstance(error, AgentdError):
            self.here.add(None, None)

    def recorded(self, completion: Completion) -> None:
        """Adds a turn from the journal."""
        _add(self.before, completion)


def _add(spent: Spent, completion: Completion) -> None:
    spent.add(completion.usage, completion.cost)
    for attempt in completion.attempts:
        if attempt.answered:
            # What is known of the cost without tokens is an estimate.
            spent.add(attempt.usage, attempt.cost if attempt.usage else None)
