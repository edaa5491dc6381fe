"""Keeps the schedules of agents on the server as their manifests define them.

An agent has one schedule per environment, whatever the number of its replicas. All replicas write
the same schedule, and a write that would change nothing is left out.
"""

from __future__ import annotations

import asyncio
import json
import logging

from agentd.catalog.spec import AgentSpec
from agentd.errors import BusError, NotStored, Unheard
from agentd.manifest.schedule import Schedule
from agentd.nats import schedules
from agentd.nats.bus import Bus
from agentd.nats.schedules import ScheduleEntry
from agentd.nats.shared_value import Secret
from agentd.protocol.subjects import Subjects
from agentd.queue.delivery import MARK
from agentd.routing.timetable import in_words, timing_of

log = logging.getLogger(__name__)


class AgentSchedules:
    """The schedules of the agents of one process.

    `keep` and `drop` only note a change; `settle` writes the changes to the server. So an edit does
    not wait for a server that is away.
    """

    def __init__(self, bus: Bus, subjects: Subjects, secret: Secret) -> None:
        self._bus = bus
        self._secret = secret
        self._subjects = subjects
        self._kept: dict[str, AgentSpec] = {}  # the agents that have a schedule
        self._changed: dict[str, AgentSpec | None] = {}  # changes the server does not have yet
        self._lock = asyncio.Lock()

    def keep(self, spec: AgentSpec) -> None:
        """Notes the schedule of an agent, or that it has none; `settle` writes it."""
        self._kept.pop(spec.name, None)
        if spec.manifest.schedule is not None:
            self._kept[spec.name] = spec
        self._changed[spec.name] = spec

    def drop(self, agent: str) -> None:
        """Notes that the manifest of an agent was removed, and its schedule with it."""
        if self._kept.pop(agent, None):
            self._changed[agent] = None

    async def settle(self) -> None:
        """Writes the changes to the server. Without a server, the next call does."""
        if not self._changed or not self._bus.connected:
            return
        async with self._lock:
            try:
                stored = await self._stored()
                for agent, spec in list(self._changed.items()):
                    await self._write(agent, spec, stored.get(self._subject(agent)))
                    # `keep` may have noted a newer change meanwhile: that one is still to write.
                    if self._changed.get(agent) is spec:
                        del self._changed[agent]
            except BusError as error:
                log.warning("schedules: %s", error)

    async def restore(self) -> None:
        """Writes the schedules again that the server has lost, with its log or to a full log.

        Raises:
            BusError: the server does not answer.
        """
        if not self._kept:
            return
        stored = await self._stored()
        lost = [spec for name, spec in self._kept.items() if self._subject(name) not in stored]
        for spec in lost:
            self._changed.setdefault(spec.name, spec)
        await self.settle()

    async def _stored(self) -> dict[str, ScheduleEntry]:
        """The schedules of agents on the server, by subject."""
        pattern = self._subject("*")
        return {entry.subject: entry async for entry in schedules.pending(self._bus, pattern)}

    async def _write(
        self, agent: str, spec: AgentSpec | None, stored: ScheduleEntry | None
    ) -> None:
        schedule = spec and spec.manifest.schedule
        if spec is None or schedule is None:
            if stored and await schedules.remove(self._bus, stored.subject):
                log.info("schedule removed", extra={"agent": agent})
            return
        entry = self._entry(agent, schedule)
        try:
            # Writing an equal entry would start an interval anew, at every start of a replica.
            if not (stored and stored.same_as(entry)) and await schedules.put(self._bus, entry):
                log.info("scheduled %s", in_words(entry.timing), extra={"agent": agent})
        except Unheard:
            raise  # the log is being recreated: not an error of the manifest
        except NotStored as error:
            problem = spec.problem("schedule", text=f"the server refuses it: {error}")
            log.error("%s", problem.render(), extra={"agent": agent})

    def _entry(self, agent: str, schedule: Schedule) -> ScheduleEntry:
        # No id: the server publishes the same bytes each time, and every copy is its own task.
        task = {
            "source": {"id": agent, "type": "schedule"},
            "payload": {"content": schedule.task},
        }
        return ScheduleEntry(
            subject=self._subject(agent),
            target=self._subjects.task_for(agent),
            data=json.dumps(task).encode(),
            timing=timing_of(schedule),
            headers={MARK: self._secret.digest(f"schedule of {agent}")},
        )

    def _subject(self, agent: str) -> str:
        return self._subjects.schedule("agent", agent)
