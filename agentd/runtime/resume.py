"""Resumes suspended tasks: has them delivered again when their tool calls are decided.

Every process of the environment tries, and the server lets one succeed. Tasks that were decided
while no process ran are found when one starts or reconnects.
"""

from __future__ import annotations

import asyncio
import json
import logging

from agentd import crash_points
from agentd.errors import BusError, SubjectError, TaskError
from agentd.nats import schedules
from agentd.nats.bus import Bus, Msg
from agentd.protocol.message import short_id
from agentd.protocol.subjects import Subjects
from agentd.queue import approvals
from agentd.queue.decisions import decision_of

log = logging.getLogger(__name__)

# Seconds between the tries to resume a task. The message of a decision may arrive before the log
# has stored it, and a task is resumed only by what the log has.
_PAUSES = (0.0, 0.05, 0.2, 0.5, 1.0, 2.0)


class Resumer:
    """Resumes the suspended tasks of one environment."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subjects = subjects
        self._trying: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Subscribes to decisions, and resumes what was decided before."""
        await self._bus.subscribe(self._subjects.pattern("event.approval.*"), self._on_event)
        self._bus.on_reconnect("decisions", self.resume_decided)
        await self.resume_decided()

    async def resume_decided(self) -> None:
        """Resumes every task whose tool calls are decided."""
        try:
            pattern = self._subjects.schedule("approval", "*")
            async for entry in schedules.pending(self._bus, pattern):
                await self._resume(entry.subject.rpartition(".")[2])
        except BusError as error:
            log.warning("approvals: %s", error)

    def close(self) -> None:
        """Ends the tries under way."""
        for task in self._trying:
            task.cancel()

    async def _on_event(self, msg: Msg) -> None:
        if is_decision(msg.data):
            task = msg.subject.rpartition(".")[2]
            trying = self._bus.background.start("resumption of a task", self._try(task))
            self._trying.add(trying)
            trying.add_done_callback(self._trying.discard)

    async def _try(self, task: str) -> None:
        for pause in _PAUSES:
            await asyncio.sleep(pause)
            if await self._resume(task):
                return

    async def _resume(self, task: str) -> bool:
        crash_points.here("before-resume")
        try:
            if not await approvals.resume(self._bus, self._subjects, task):
                return False
        except (BusError, SubjectError, TaskError) as error:
            log.warning("%s stays suspended: %s", short_id(task), error)
            return False
        log.info("%s resumes: its tool calls are decided", short_id(task))
        return True


def is_decision(data: bytes) -> bool:
    """Whether a message is a decision; requests for approval have the same subject.

    A quick look without decoding: each process sees each event about an approval.
    """
    try:
        content = json.loads(data)["payload"]["content"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return decision_of(content) is not None
