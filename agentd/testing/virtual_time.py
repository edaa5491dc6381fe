"""An event loop on which hours pass in milliseconds, and every run is the same."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its clock starts at 0 and jumps to the next timer where another loop would sleep.

    Only for work of this process: what comes over a socket would come after its timeout.
    """

    def __init__(self) -> None:
        self._clock = _Clock()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


class _Clock(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.now += timeout
        return ready


def run(work: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
    """What `work()` returns, run on a loop of its own."""
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
