"""Keeps up what agents need on the server: streams, schedules, hints at tasks that wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field

from agentd.errors import BusError, StartError
from agentd.nats import streams
from agentd.nats.bus import Bus, Msg
from agentd.nats.shared_value import Secret
from agentd.protocol.server_subjects import STREAM_DELETED
from agentd.queue.queue import Queue
from agentd.record.revisions import RevisionRecorder
from agentd.runtime.agent_schedules import AgentSchedules
from agentd.runtime.dead_lettering import refuse_foreign
from agentd.runtime.presence import Presence
from agentd.runtime.resume import Resumer
from agentd.settings import Settings

log = logging.getLogger(__name__)

# Seconds from a deletion to the second check: during the first the server may still be deleting.
_AGAIN = 0.1
# Seconds between two checks: that the streams exist, what waits in WORK, that the schedules exist.
_CHECK, _SWEEP, _RESTORE = 1.0, 5.0, 60.0


@dataclass(kw_only=True, eq=False)
class Housekeeper:
    """Checks every second, and immediately when a stream was deleted or the server is back.

    The advisory alone is not enough: when a stream is deleted, the server stops what would publish
    it, and the advisory may not get out any more (nats-server, `stream.stop`).
    """

    bus: Bus
    settings: Settings
    queue: Queue
    presence: Presence
    schedules: AgentSchedules
    resumer: Resumer
    recorder: RevisionRecorder
    secret: Secret
    _due: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _pause: float = field(default=_CHECK, init=False)
    _swept_at: float = field(default=0.0, init=False)
    _restored_at: float = field(default=0.0, init=False)
    _job: asyncio.Task[None] | None = field(default=None, init=False)

    async def open(self) -> None:
        """Starts the checks."""
        await self.bus.subscribe(STREAM_DELETED, self._on_deleted)
        self.bus.on_reconnect("housekeeping after a reconnect", self._on_back)
        self._job = self.bus.background.keep("housekeeping", self._check_always)

    def close(self) -> None:
        """Ends the checks."""
        if self._job:
            self._job.cancel()

    async def _on_deleted(self, _: Msg) -> None:
        self._due.set()

    async def _on_back(self) -> None:
        """A new server process has lost the streams that were in memory."""
        self._due.set()

    async def _check_always(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await self._due.wait()
                    self._due.clear()
                    self._pause = _AGAIN / 2
            self._pause = min(2 * self._pause, _CHECK)
            await asyncio.sleep(_AGAIN / 2)  # at most so often, whatever is deleted
            if not self.bus.connected:
                continue
            try:
                await self._check()
            except (BusError, StartError) as error:
                log.warning("housekeeping: %s", error)

    async def _check(self) -> None:
        created = await streams.heal(self.bus, self.settings)
        for name in created:
            log.warning("%s was deleted; created it again", name)
        if created:
            # The registry is a bucket too: its entries are lost with it.
            await self.presence.announce_all()
            await self.secret.read(self.bus, self.settings.env)
        if streams.REVISIONS in created:
            self.recorder.keep_live()
        now = asyncio.get_running_loop().time()
        # Shortly after a deletion: a stream being deleted would not answer what follows. But anyone
        # may delete streams, or say that one was deleted, all the time.
        if not created and self._pause < _CHECK and now < self._swept_at + 2 * _SWEEP:
            return
        if created or now >= self._swept_at + _SWEEP:
            self._swept_at = now
            for work in await self.queue.sweep():
                await refuse_foreign(self.bus, self.queue.subjects, work)
            await self.schedules.settle()
        if created or now >= self._restored_at + _RESTORE:
            self._restored_at = now
            await self.schedules.restore()
            await self.resumer.resume_decided()
            await self.recorder.settle()
