"""Counts the steps of a check, and ends it when there are too many."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from agentd.errors import AgentdError

STEP = 1e-5  # seconds of CPU time that a step takes, more or less


class TooManySteps(AgentdError):
    """The check needs more steps than it may take."""


class Steps:
    """The steps that a check has left."""

    def __init__(self, most: int) -> None:
        self.left = most

    def spend(self, steps: int) -> None:
        """Counts steps, before they are taken where their number is known.

        Raises:
            TooManySteps: no more are left.
        """
        if steps > self.left:
            self.left = 0
            raise TooManySteps
        self.left -= steps

    @contextmanager
    def timed(self) -> Generator[float]:
        """For work whose steps cannot be counted: gives the seconds of CPU time that it may take,
        and counts those that it took. A `TimeoutError` in the block means that it took more."""
        began = time.process_time()
        try:
            yield max(self.left, 1) * STEP
        except TimeoutError:
            self.left = 0
            raise TooManySteps from None
        self.spend(int((time.process_time() - began) / STEP))


_current: ContextVar[Steps] = ContextVar("steps")


def current() -> Steps:
    """The steps of the check that is running."""
    return _current.get()


@contextmanager
def at_most(steps: int) -> Generator[Steps]:
    """Gives the checks in the block that many steps in all; inside another such block, no more than
    that one has left."""
    outer = _current.get(None)
    most = min(steps, outer.left) if outer else steps
    counted = Steps(most)
    token = _current.set(counted)
    try:
        yield counted
    finally:
        _current.reset(token)
        if outer:
            outer.left -= most - counted.left
