"""The end of the process, and the work that it ends early."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

_Made = TypeVar("_Made")


class Ending(asyncio.Event):
    """Set when the process begins to end, or when its last task has ended."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: set[Callable[[], object]] = set()

    def set(self) -> None:
        """Sets it, and calls what waits for it."""
        super().set()
        for call in list(self._calls):
            call()

    @contextlib.contextmanager
    def calling(self, call: Callable[[], object]) -> Generator[None]:
        """Calls a function if this is set in the block, or was before. For a request that waits
        for something else, it costs a tenth of a task that waits for the event."""
        self._calls.add(call)
        try:
            if self.is_set():
                call()
            yield
        finally:
            self._calls.discard(call)

    async def before(
        self, work: Coroutine[Any, Any, _Made], seconds: float | None = None
    ) -> _Made | None:
        """What the work makes; None if this is set before, or so many seconds have passed: the work
        is cancelled then."""
        task = asyncio.create_task(work)
        try:
            with self.calling(task.cancel):
                await asyncio.wait({task}, timeout=seconds)
            return task.result() if task.done() and not task.cancelled() else None
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
