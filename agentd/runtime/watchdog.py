"""Notices, from a thread of its own, that the event loop stands still, and says where."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

from agentd.runtime import stacks

log = logging.getLogger(__name__)

_TICK = 0.1  # seconds
_STALL = 1.0  # seconds without a tick that are told
_FRAMES = 3


class Watchdog:
    """Watches the event loop that starts it. `stalls` counts, `longest` is in seconds."""

    def __init__(self) -> None:
        self.stalls = 0
        self.longest = 0.0
        self._ticked = time.monotonic()
        self._stop = threading.Event()
        self._watched = threading.get_ident()
        self._ticks: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Watches from now on."""
        self._ticks = asyncio.create_task(self._tick())
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Watches no more."""
        self._stop.set()
        if self._ticks:
            self._ticks.cancel()

    async def _tick(self) -> None:
        while True:
            self._ticked = time.monotonic()
            await asyncio.sleep(_TICK)

    def _watch(self) -> None:
        told_at = 0.0
        while not self._stop.wait(_TICK):
            ticked = self._ticked
            silent = time.monotonic() - ticked
            if silent > _STALL:
                self.longest = max(self.longest, silent)
                if told_at != ticked:
                    told_at = ticked
                    self.stalls += 1
                    log.warning("the event loop stands still; every agent waits: %s", self._where())

    def _where(self) -> str:
        """The innermost calls of the event loop's thread at this moment."""
        return " < ".join(reversed(stacks.of_thread(self._watched, _FRAMES)))
