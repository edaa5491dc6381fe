"""What a scenario consists of: its name, the function that plays it, and its size."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentd.testing.torture.harness import World


@dataclass(frozen=True)
class Size:
    """The size of a scenario.

    Attributes:
        tasks: how many tasks are sent.
        shocks: how often something goes wrong: kills, edits, faults.
        seconds: the goal for the duration of the whole scenario; None if it has none.
    """

    tasks: int
    shocks: int = 0
    seconds: float | None = None


@dataclass(frozen=True)
class Scenario:
    """One way in which things go wrong. `short` is the size in CI (`agentd torture --short`)."""

    name: str
    play: Callable[[World, Size], Awaitable[None]]
    full: Size
    short: Size

    @property
    def goal(self) -> str:
        """The goal in a sentence: the first line of the docstring of `play`."""
        return (self.play.__doc__ or "").splitlines()[0]
