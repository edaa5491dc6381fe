"""What a scenario is: its name, its goal, the function that plays it, and how large it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentd.testing.torture.harness import World


@dataclass(frozen=True)
class Size:
    """How many tasks, and how often something goes wrong (kills, edits, faults) meanwhile.

    `seconds` is the goal for the whole scenario, if it has one.
    """

    tasks: int
    shocks: int = 0
    seconds: float | None = None


@dataclass(frozen=True)
class Scenario:
    """One way in which things go wrong. `full` is the measure of the suite, `short` that of CI."""

    name: str
    play: Callable[[World, Size], Awaitable[None]]
    full: Size
    short: Size

    @property
    def goal(self) -> str:
        """The first line of the function's docstring."""
        return (self.play.__doc__ or "").splitlines()[0]
