"""What a run may use: time, money, memory, a record of its steps, and whoever reads along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from agentd.metrics import Metrics
from agentd.nats.bus import Bus
from agentd.queue.approvals import Verdicts
from agentd.queue.journal import Step
from agentd.run.budget import TaskBudget
from agentd.run.deadline import Deadline
from agentd.run.memory import Memory


class StepLog(Protocol):
    """Where the steps of a run are recorded; `agentd.queue.journal` has what they are."""

    @property
    def steps(self) -> Mapping[Step, Mapping[str, Any]]:
        """What is on record from before."""
        ...

    async def step(self, kind: str, turn: int, index: int = 0, **details: Any) -> None:
        """Records a step.

        Raises:
            BusError: it is not on record; the run must not go on.
        """
        ...

    async def note(self, kind: str, *, mark: str = "", **details: Any) -> None:
        """Records what happened on the way; `mark` is another one each time.

        Raises:
            BusError: it is not on record.
        """
        ...


class NoStepLog:
    """The record of a run that nobody repeats."""

    @property
    def steps(self) -> Mapping[Step, Mapping[str, Any]]:
        """Nothing."""
        return {}

    async def step(self, kind: str, turn: int, index: int = 0, **details: Any) -> None:
        """Keeps nothing."""

    async def note(self, kind: str, *, mark: str = "", **details: Any) -> None:
        """Keeps nothing."""


class Reader(Protocol):
    """Whoever follows an answer while it is made."""

    def push(self, text: str) -> None:
        """Takes the next piece."""
        ...

    def restart(self) -> None:
        """What was pushed so far was not the answer."""
        ...


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What a run may use. `now` is the time of its beginning, in seconds since the epoch; `bus` is
    for the files that come with a task; `verdicts` is what people said about its calls, None where
    nobody can be waited for."""

    deadline: Deadline
    budget: TaskBudget
    metrics: Metrics
    now: float
    record: StepLog
    memory: Memory
    bus: Bus
    reader: Reader | None = None
    verdicts: Verdicts | None = None
