"""What a run may use: its deadline, its budget, its journal, and who follows its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agentd.metrics import Metrics
from agentd.nats.bus import Bus
from agentd.queue.approvals import Verdicts
from agentd.queue.journal import Step
from agentd.run.budget import TaskBudget
from agentd.run.deadline import Deadline
from agentd.run.memory import Memory
from agentd.run.spending import CallLog, Spending


class StepLog(Protocol):
    """Where the steps of a run are recorded; `agentd.queue.journal` lists the kinds of steps."""

    async def step(self, kind: str, turn: int, index: int = 0, **details: Any) -> None:
        """Records a step.

        Raises:
            BusError: it was not recorded; the run must not continue.
        """
        ...

    async def note(self, kind: str, *, mark: str = "", **details: Any) -> None:
        """Records an event that a resumed run does not need. `mark` tells two of a kind apart.

        Raises:
            BusError: it was not recorded.
        """
        ...


class NoStepLog:
    """The step log of a run that is never resumed."""

    async def step(self, kind: str, turn: int, index: int = 0, **details: Any) -> None:
        """Records nothing."""

    async def note(self, kind: str, *, mark: str = "", **details: Any) -> None:
        """Records nothing."""


class Reader(Protocol):
    """Who follows an answer while the model writes it."""

    def push(self, text: str) -> None:
        """Takes the next piece."""
        ...

    def restart(self) -> None:
        """The next turn begins, also in a run that resumes: what was pushed was not the answer."""
        ...


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What a run may use.

    Attributes:
        now: when the run began, in seconds since the epoch.
        budget, journal, memory: made when they are needed; most runs need none of them.
        steps: the steps that are on record from an earlier attempt.
        bus: for the files that come with a task.
        spending: what its model calls use.
        calls: its model calls for the record; None if they do not go there.
        verdicts: what was decided about the run's tool calls; None where a run cannot be suspended.
    """

    deadline: Deadline
    budget: Callable[[], TaskBudget]
    metrics: Metrics
    now: float
    journal: Callable[[], StepLog]
    memory: Callable[[], Memory]
    bus: Bus
    steps: Mapping[Step, Mapping[str, Any]] = field(default_factory=dict[Step, Mapping[str, Any]])
    reader: Reader | None = None
    spending: Spending = field(default_factory=Spending)
    verdicts: Verdicts | None = None
    calls: CallLog = field(default_factory=lambda: CallLog("off"))
