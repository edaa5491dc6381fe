"""Reports to the server, from a separate thread, which deliveries are still in progress.

Without the thread, a prompt or a tool that blocks the event loop would look like a dead process:
its tasks would be delivered, and paid for, a second time.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from typing import Any

from agentd.background import keep
from agentd.errors import BusError
from agentd.nats.bus import Bus

log = logging.getLogger(__name__)


class Beats:
    """Sends `+WPI` for every held delivery each `interval` seconds, over its own connection.

    `held` has the reply subjects of these deliveries. Two threads share it without a lock: each
    single set operation is atomic.
    """

    def __init__(self, options: Mapping[str, Any], interval: float) -> None:
        self._options = options
        self._interval = interval
        self.held: set[str] = set()
        self._ended: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="beats", daemon=True)

    def start(self) -> None:
        """Starts the thread, which connects by itself. The first beat is due only later."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread without waiting for it."""
        self.held.clear()
        if self._loop and self._ended and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ended.set)

    def _run(self) -> None:
        asyncio.run(keep("reports of progress", self._beat))

    async def _beat(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        bus = await Bus.connect(self._options, on_state=log.debug)
        while not self._ended.is_set():
            for reply in tuple(self.held):
                try:
                    await bus.publish(reply, b"+WPI")
                except BusError as error:
                    log.debug("cannot report progress: %s", error)
            try:
                async with asyncio.timeout(self._interval):
                    await self._ended.wait()
            except TimeoutError:
                continue
        await bus.close()
