"""An event loop whose clock jumps: tests of long delays take milliseconds and always agree."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock starts at 0 and jumps to the next timer instead of sleeping.

    It suits only work within this process: while a peer prepares its answer, the clock would
    already jump to the timeout of the answer.
    """

    def __init__(self) -> None:
        self._clock = _Clock()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now

    def block(self, seconds: float) -> None:
        """Moves the clock forward, as code that blocks the loop does."""
        self._clock.now += seconds


class _Clock(selectors.DefaultSelector):
    """The selector of the loop; it sleeps in `select`, and so it knows how far to jump."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:  # no timer is set: only a file can wake the loop
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.now += timeout
        return ready


def run(work: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
    """Runs `work()` on a new virtual loop and returns its result."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work())


def in_virtual_time(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Decorates an async test without parameters, which then runs on a virtual loop."""

    def run_test() -> None:
        run(test)

    # pytest reports a test by its name, and collects nothing that has another one.
    run_test.__name__ = test.__name__
    run_test.__doc__ = test.__doc__
    return run_test
