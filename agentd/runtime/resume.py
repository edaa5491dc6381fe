"""Hears decisions on approvals, and has the tasks that waited for them delivered again.

Every process does: the server lets only one succeed. What is decided while none is there is found
when one starts, or is connected again.
"""

from __future__ import annotations

import asyncio
import json
import logging

from agentd import crash_points
from agentd.errors import BusError, TaskError
from agentd.nats import schedules
from agentd.nats.bus import Bus, Msg
from agentd.protocol.subjects import Subjects
from agentd.queue import approvals
from agentd.queue.decisions import decision_of

log = logging.getLogger(__name__)

# A decision is heard before it is on record. Seconds between looks.
_LOOKS = (0.0, 0.05, 0.2, 0.5, 1.0, 2.0)


class Resumer:
    """Looks after the waiting tasks of one environment."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subjects = subjects
        self._looking: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listens from now on, and looks for what was decided before."""
        await self._bus.subscribe(self._subjects.pattern("event.approval.*"), self._on_event)
        self._bus.on_reconnect(self.look)
        await self.look()

    async def look(self) -> None:
        """Goes on with every task whose calls are decided."""
        try:
            pattern = self._subjects.schedule("approval", "*")
            async for entry in schedules.pending(self._bus, pattern):
                await self._resume(entry.subject.rpartition(".")[2])
        except BusError as error:
            log.warning("approvals: %s", error)

    def close(self) -> None:
        """Looks after nothing more."""
        for task in self._looking:
            task.cancel()

    async def _on_event(self, msg: Msg) -> None:
        if _is_decision(msg.data):
            looking = asyncio.create_task(self._until_recorded(msg.subject.rpartition(".")[2]))
            self._looking.add(looking)
            looking.add_done_callback(self._looking.discard)

    async def _until_recorded(self, task: str) -> None:
        for pause in _LOOKS:
            await asyncio.sleep(pause)
            if await self._resume(task):
                return

    async def _resume(self, task: str) -> bool:
        crash_points.here("before-resume")
        try:
            if not await approvals.resume(self._bus, self._subjects, task):
                return False
        except (BusError, TaskError) as error:
            log.warning("%s waits on: %s", task, error)
            return False
        log.info("%s goes on: its calls are decided", task[:8])
        return True


def _is_decision(data: bytes) -> bool:
    try:
        content = json.loads(data)["payload"]["content"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return decision_of(content) is not None
