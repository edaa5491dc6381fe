"""Notices from a separate thread that the event loop is blocked, and logs where."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

from agentd.background import keep
from agentd.runtime import stacks

log = logging.getLogger(__name__)

_TICK = 0.1  # seconds
_STALL = 1.0  # seconds without a tick that are reported
_FRAMES = 3  # calls shown in the log


class Watchdog:
    """Watches the event loop that starts it.

    Attributes:
        stalls: how often the loop was blocked for more than a second.
        longest: the longest of these times, in seconds.
    """

    def __init__(self) -> None:
        self.stalls = 0
        self.longest = 0.0
        self._ticked = time.monotonic()
        self._stop = threading.Event()
        self._watched = threading.get_ident()
        self._ticks: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts to watch."""
        self._ticks = asyncio.create_task(keep("watchdog", self._tick))
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stops watching."""
        self._stop.set()
        if self._ticks:
            self._ticks.cancel()

    async def _tick(self) -> None:
        while True:
            self._ticked = time.monotonic()
            await asyncio.sleep(_TICK)

    def _watch(self) -> None:
        reported = 0.0  # the tick after which the loop was blocked last, so that it is said once
        while not self._stop.wait(_TICK):
            ticked = self._ticked
            silent = time.monotonic() - ticked
            if silent > _STALL:
                self.longest = max(self.longest, silent)
                if reported != ticked:
                    reported = ticked
                    self.stalls += 1
                    log.warning("the event loop is blocked; all agents wait: %s", self._where())

    def _where(self) -> str:
        """The innermost calls of the event loop's thread at this moment."""
        return " < ".join(reversed(stacks.of_thread(self._watched, _FRAMES)))
