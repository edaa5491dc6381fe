"""Counts what one agent has done in this process, for `agentd ps`."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median

from agentd.agent.outcome import Outcome

_REMEMBERED = 256


@dataclass
class AgentStats:
    """Counts since the start; `latencies` are those of the last runs, in milliseconds.

    `failing` counts the failures since the last success. `cost` is the sum of the known costs in
    USD; `cost_unknown` is true if a cost was not known. `cut` counts the answers that were cut off.
    """

    done: int = 0
    failed: int = 0
    failing: int = 0
    last_error: str = ""
    tokens: int = 0
    cost: float = 0.0
    cost_unknown: bool = False
    cut: int = 0
    latencies: deque[float] = field(default_factory=lambda: deque[float](maxlen=_REMEMBERED))

    def count(self, outcome: Outcome) -> None:
        """Adds one outcome."""
        self.latencies.append(outcome.latency)
        if outcome.result is None:
            self.failed += 1
            self.failing += 1
            self.last_error = str(outcome.error)
            return
        self.done += 1
        self.failing = 0
        completion = outcome.result.completion
        self.cut += completion.cut is not None
        self.tokens += completion.usage.total if completion.usage else 0
        self.cost += completion.cost or 0.0
        self.cost_unknown |= completion.cost is None

    @property
    def p50(self) -> float | None:
        """The median latency in milliseconds of the last runs."""
        return median(self.latencies) if self.latencies else None
