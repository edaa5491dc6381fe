"""Keeps what agents need on the server as it should be: streams, schedules, hints of work."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from agentd.errors import BusError, StartError
from agentd.nats import streams
from agentd.nats.bus import Bus, Msg
from agentd.protocol.server_subjects import STREAM_DELETED
from agentd.queue.queue import Queue
from agentd.runtime.agent_schedules import Timetable
from agentd.runtime.presence import Presence
from agentd.runtime.resume import Resumer
from agentd.settings import Settings

log = logging.getLogger(__name__)

# Seconds until the second look at what was deleted: at the first the server may still be deleting.
_AGAIN = 0.1
# Seconds between two looks at whether the streams are there, at what waits in WORK, and at whether
# the schedules are there.
_LOOK, _SWEEP, _RESTORE = 1.0, 5.0, 60.0


class Housekeeper:
    """Looks every second, and at once when a stream was deleted or the server is back.

    The server does not always get to say that a stream was deleted: it ends what would tell
    (nats-server, `stream.stop`).
    """

    def __init__(
        self,
        bus: Bus,
        settings: Settings,
        *,
        queue: Queue,
        presence: Presence,
        timetable: Timetable,
        resumer: Resumer,
    ) -> None:
        self._bus = bus
        self._settings = settings
        self._queue = queue
        self._presence = presence
        self._timetable = timetable
        self._resumer = resumer
        self._now = asyncio.Event()
        self._pause = _LOOK
        self._swept = self._restored = 0.0
        self._job: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Keeps house from now on."""
        await self._bus.subscribe(STREAM_DELETED, self._on_deleted)
        self._bus.on_reconnect(self._on_back)
        self._job = asyncio.create_task(self._keep())

    def close(self) -> None:
        """No more."""
        if self._job:
            self._job.cancel()

    async def _on_deleted(self, _: Msg) -> None:
        self._now.set()

    async def _on_back(self) -> None:
        """What is in memory has gone with the server that was here before."""
        self._now.set()

    async def _keep(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await self._now.wait()
                    self._now.clear()
                    self._pause = _AGAIN / 2
            self._pause = min(2 * self._pause, _LOOK)
            if not self._bus.connected:
                continue
            try:
                await self._look()
            except (BusError, StartError) as error:
                log.warning("housekeeping: %s", error)

    async def _look(self) -> None:
        healed = await streams.heal(self._bus, self._settings)
        for name in healed:
            log.warning("%s was gone; made it again", name)
        if healed:
            await self._presence.announce_all()
        elif self._pause < _LOOK:
            return  # what is just being deleted does not answer: no time to read anything
        now = asyncio.get_running_loop().time()
        if healed or now >= self._swept + _SWEEP:
            self._swept = now
            await self._queue.sweep()
            await self._timetable.settle()
        if healed or now >= self._restored + _RESTORE:
            self._restored = now
            await self._timetable.restore()
            await self._resumer.look()
