"""The turns of suspects: tasks that may have killed the process before.

Where a process dies with many slow tasks, all of them are suspects, and nearly all are innocent.
One at a time, fifty tasks of a minute would take an hour. All at once, the guilty one would take
the others with it again. So one runs first, and with each that ends, twice as many may run.

A suspect may wait for another one, whose answer it needs. So one that has run for a minute no
longer keeps others waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass

_TRIAL = 60.0  # seconds


@dataclass(eq=False)
class _Suspect:
    """A suspect; `turn` is done when it may run."""

    alone: bool
    turn: asyncio.Future[None]


class Suspects:
    """The suspects that wait, and those on trial: from their start until they end, at most `trial`
    seconds.

    One may be on trial, then twice as many with each trial that is over, and one again when none is
    left. They start in the order in which they came.
    """

    def __init__(self, trial: float = _TRIAL) -> None:
        self._trial = trial
        self._most = 1
        self._waiting: deque[_Suspect] = deque()
        self._on_trial: dict[_Suspect, asyncio.TimerHandle] = {}

    @contextlib.asynccontextmanager
    async def turn(self, *, alone: bool) -> AsyncGenerator[None]:
        """Waits for the turn of a suspect, which lasts as long as the block; `alone`: no other one
        may be on trial beside it."""
        suspect = _Suspect(alone, asyncio.get_running_loop().create_future())
        self._waiting.append(suspect)
        self._admit()
        try:
            await suspect.turn
            yield
        finally:
            self._over(suspect)

    def _over(self, suspect: _Suspect) -> None:
        """Ends the trial of a suspect. It has none if it was cancelled while it waited, or has run
        for longer."""
        timer = self._on_trial.pop(suspect, None)
        if timer:
            timer.cancel()
            self._most *= 2
        if not self._on_trial and not self._waiting:
            self._most = 1
        self._admit()

    def _admit(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and self._has_room(self._waiting[0]):
            suspect = self._waiting.popleft()
            if not suspect.turn.done():  # otherwise it was cancelled while it waited
                self._on_trial[suspect] = loop.call_later(self._trial, self._over, suspect)
                suspect.turn.set_result(None)

    def _has_room(self, suspect: _Suspect) -> bool:
        if not self._on_trial or suspect.turn.done():
            return True
        alone = suspect.alone or any(each.alone for each in self._on_trial)
        return not alone and len(self._on_trial) < self._most
