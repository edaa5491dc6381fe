"""The turns of suspects: tasks that may have killed the process before.

Where a process dies with many slow tasks, all of them are suspects, and nearly all are innocent.
One at a time, fifty tasks of a minute would take an hour. All at once, the guilty one would take
the others with it again. So one runs first, and with each that ends, twice as many may run.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass


@dataclass(eq=False)
class _Waiter:
    """A suspect that waits; `turn` is done when it may run."""

    alone: bool
    turn: asyncio.Future[None]


class Suspects:
    """How many suspects may run at once: one, then twice as many with each that has ended, and one
    again when none is left. They run in the order in which they came."""

    def __init__(self) -> None:
        self._limit = 1
        self._running = 0
        self._alone = False  # whether the one that runs must run alone
        self._waiting: deque[_Waiter] = deque()

    @contextlib.asynccontextmanager
    async def turn(self, *, alone: bool) -> AsyncGenerator[None]:
        """Waits for the turn of a suspect, which lasts as long as the block; `alone`: no other one
        may run beside it."""
        waiter = _Waiter(alone, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._admit()
        try:
            await waiter.turn
            yield
        finally:
            if waiter.turn.done() and not waiter.turn.cancelled():
                self._end()
            else:
                self._admit()  # the others may have waited behind it

    def _end(self) -> None:
        self._running -= 1
        self._limit *= 2
        if not self._running and not self._waiting:
            self._limit = 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._has_room(self._waiting[0]):
            waiter = self._waiting.popleft()
            if not waiter.turn.done():  # otherwise it was cancelled while it waited
                self._running += 1
                self._alone = waiter.alone
                waiter.turn.set_result(None)

    def _has_room(self, waiter: _Waiter) -> bool:
        if not self._running or waiter.turn.done():
            return True
        return not (waiter.alone or self._alone) and self._running < self._limit
