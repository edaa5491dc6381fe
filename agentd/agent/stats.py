"""Counts what one agent has done in this process, for `agentd ps`."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median

from agentd.agent.outcome import Outcome
from agentd.run.spending import Spending, Spent

_REMEMBERED = 256


@dataclass
class AgentStats:
    """Counts since the start; `latencies` are those of the last runs, in milliseconds.

    `failing` counts the failures since the last success. `spent` has the tokens and the money of
    all model calls, also of tasks that failed or are attempted again. `cut` counts the answers that
    were cut off.
    """

    done: int = 0
    failed: int = 0
    failing: int = 0
    last_error: str = ""
    spent: Spent = field(default_factory=Spent)
    cut: int = 0
    latencies: deque[float] = field(default_factory=lambda: deque[float](maxlen=_REMEMBERED))

    def count(self, outcome: Outcome) -> None:
        """Adds one outcome, with what it has used."""
        self.spend(outcome.spending)
        self.latencies.append(outcome.latency)
        if outcome.result is None:
            self.failed += 1
            self.failing += 1
            self.last_error = str(outcome.error)
            return
        self.done += 1
        self.failing = 0
        self.cut += outcome.result.completion.cut is not None

    def spend(self, spending: Spending) -> None:
        """Adds what a delivery has used."""
        if spending.here.calls:
            self.spent.add(spending.here.usage, spending.here.cost)

    @property
    def p50(self) -> float | None:
        """The median latency in milliseconds of the last runs."""
        return median(self.latencies) if self.latencies else None
