"""Tells the server, from a thread of its own, which tasks are still being worked on.

A prompt or a tool that keeps the event loop busy for long would else look like a dead process, and
its tasks would be delivered, and paid for, a second time.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from typing import Any

from agentd.errors import BusError
from agentd.nats.bus import Bus

log = logging.getLogger(__name__)


class Beats:
    """Sends `+WPI` for every held task each `interval` seconds, over a connection of its own."""

    def __init__(self, options: Mapping[str, Any], interval: float) -> None:
        self._options = options
        self._interval = interval
        # Reply subjects. Only ever touched by calls that the interpreter does not interrupt.
        self._held: set[str] = set()
        self._ended: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="beats", daemon=True)

    def start(self) -> None:
        """Connects in the background; there is time until the first beat."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread without waiting for it."""
        self._held.clear()
        if self._loop and self._ended and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ended.set)

    def hold(self, reply: str) -> None:
        """Beats for the delivery with this reply subject from now on."""
        self._held.add(reply)

    def release(self, reply: str) -> None:
        """No more: it is settled."""
        self._held.discard(reply)

    def _run(self) -> None:
        asyncio.run(self._beat())

    async def _beat(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        bus = await Bus.connect(self._options, on_state=log.debug)
        while not self._ended.is_set():
            for reply in tuple(self._held):
                try:
                    await bus.publish(reply, b"+WPI")
                except BusError as error:
                    log.debug("no beat: %s", error)
            try:
                async with asyncio.timeout(self._interval):
                    await self._ended.wait()
            except TimeoutError:
                continue
        await bus.close()
