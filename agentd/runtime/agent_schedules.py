"""The schedules of agents: what their manifests say, and the server does.

One schedule for each agent of an environment, whatever the number of replicas: all of them write
the same one, and what is there already is left alone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agentd.catalog.spec import AgentSpec
from agentd.errors import BusError, NotStored, Unheard, UsageError
from agentd.manifest import cron
from agentd.manifest.flow import Schedule
from agentd.nats import schedules
from agentd.nats.bus import Bus
from agentd.nats.schedules import ScheduleEntry, Timing
from agentd.protocol.subjects import Subjects
from agentd.routing import registry

log = logging.getLogger(__name__)


class Timetable:
    """The schedules of one process's agents."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subjects = subjects
        self._kept: dict[str, AgentSpec] = {}  # the agents that have a schedule
        self._changed: dict[str, AgentSpec | None] = {}  # not yet told to the server
        self._turn = asyncio.Lock()

    def keep(self, spec: AgentSpec) -> None:
        """From now on the agent's schedule is this one, or none, from the next `settle` on."""
        self._kept.pop(spec.name, None)
        if spec.manifest.schedule is not None:
            self._kept[spec.name] = spec
        self._changed[spec.name] = spec

    def drop(self, agent: str) -> None:
        """The agent's manifest is gone, and its schedule goes with it."""
        if self._kept.pop(agent, None):
            self._changed[agent] = None

    async def settle(self) -> None:
        """Tells the server what has changed; without one, the next call does."""
        if not self._changed or not self._bus.connected:
            return
        async with self._turn:
            try:
                there = await self._there()
                for agent, spec in list(self._changed.items()):
                    await self._write(agent, spec, there.get(self._subject(agent)))
                    if self._changed.get(agent) is spec:
                        del self._changed[agent]
            except BusError as error:
                log.warning("schedules: %s", error)

    async def restore(self) -> None:
        """Writes again what the server has lost: with the log, or when the log was full."""
        if not self._kept:
            return
        there = await self._there()
        gone = [spec for name, spec in self._kept.items() if self._subject(name) not in there]
        for spec in gone:
            self._changed.setdefault(spec.name, spec)
        await self.settle()

    async def _there(self) -> dict[str, ScheduleEntry]:
        pattern = self._subject("*")
        return {entry.subject: entry async for entry in schedules.pending(self._bus, pattern)}

    async def _write(self, agent: str, spec: AgentSpec | None, there: ScheduleEntry | None) -> None:
        schedule = spec and spec.manifest.schedule
        if spec is None or schedule is None:
            if there and await schedules.remove(self._bus, there.subject):
                log.info("no longer scheduled", extra={"agent": agent})
            return
        entry = self._entry(agent, schedule)
        try:
            if not (there and there.says(entry)) and await schedules.put(self._bus, entry):
                log.info("scheduled %s", in_words(entry.timing), extra={"agent": agent})
        except Unheard:
            raise  # the log is being made again
        except NotStored as error:
            problem = spec.problem("schedule", text=f"the server does not take it: {error}")
            log.error("%s", problem.render(), extra={"agent": agent})

    def _entry(self, agent: str, schedule: Schedule) -> ScheduleEntry:
        task = {
            "source": {"id": agent, "type": "schedule"},
            "payload": {"content": schedule.task},
        }
        return ScheduleEntry(
            subject=self._subject(agent),
            target=self._subjects.task_for(agent),
            data=json.dumps(task).encode(),
            timing=_timing(schedule),
        )

    def _subject(self, agent: str) -> str:
        return self._subjects.schedule("agent", agent)


async def require_absent(bus: Bus, subjects: Subjects, agent: str) -> None:
    """Makes sure that nobody online keeps the schedule of this agent.

    Raises:
        UsageError: the agent is online, and would write it again.
    """
    if any(replica.agent == agent for replica in await registry.online(bus, subjects.env)):
        raise UsageError(f"{agent} is online: take `schedule` out of its manifest")


def next_time(timing: Timing) -> float | None:
    """When it is due next, in seconds since the epoch; None for an interval, whose beginning only
    the server knows, and for what this machine does not understand."""
    if timing.moment is not None or timing.pattern.startswith("@every "):
        return timing.moment
    try:
        now = datetime.now(ZoneInfo(timing.zone))
        found = cron.parse(timing.pattern).next_after(now)
    except (ZoneInfoNotFoundError, ValueError):
        return None  # other programs write schedules, too
    return found and found.timestamp()


def _timing(schedule: Schedule) -> Timing:
    if schedule.every is not None:
        return Timing.every(schedule.every)
    assert schedule.cron is not None
    return Timing(schedule.cron, schedule.time_zone)


def in_words(timing: Timing) -> str:
    """A timing as a person reads it."""
    if ours := re.fullmatch(r"@every (\d+)ms", timing.pattern):
        return f"every {_short(int(ours[1]) / 1000)}"
    return timing.pattern if timing.zone == "UTC" else f"{timing.pattern} ({timing.zone})"


def _short(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:g}s"
