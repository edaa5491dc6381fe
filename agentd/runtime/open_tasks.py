"""The tasks that have no outcome yet: running, waiting, suspended, or to be sent later."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

from agentd.errors import SubjectError
from agentd.nats import jetstream, schedules
from agentd.nats.bus import Bus, Msg
from agentd.nats.jetstream import ApiError
from agentd.nats.records import skipping
from agentd.nats.schedules import ScheduleEntry
from agentd.nats.streams import WORK
from agentd.protocol.message import AgentMessage
from agentd.protocol.subjects import Subject, Subjects
from agentd.queue.bands import consumer_name, route_of
from agentd.queue.delivery import Parcel
from agentd.runtime.dead_lettering import task_of, waiting_in

State = Literal["running", "waiting", "suspended", "scheduled"]


@dataclass(frozen=True)
class OpenTask:
    """A task without an outcome. `running` includes one that was handed back and is tried again.

    `sequence` is its place in WORK; `schedule` is the subject of the copy that the server publishes
    later, for a task that is suspended or scheduled.
    """

    state: State
    parcel: Parcel
    message: AgentMessage
    sequence: int = 0
    schedule: str = ""


async def open_tasks(bus: Bus, subjects: Subjects) -> AsyncIterator[OpenTask]:
    """All of them.

    Raises:
        BusError: the server does not answer.
    """
    begun = _Begun(bus, subjects)
    async for msg in jetstream.stored(bus, WORK, subjects.all_work):
        task = None
        with skipping(WORK, msg):
            task = await _in_work(msg, begun)
        if task:
            yield task
    kinds: tuple[tuple[State, str], ...] = (
        ("suspended", subjects.schedule("approval", "*")),
        ("scheduled", subjects.schedule("message", "*")),
    )
    for state, pattern in kinds:
        async for entry in schedules.pending(bus, pattern):
            if later := _later(entry):
                yield OpenTask(state, later, task_of(later), schedule=entry.subject)


async def _in_work(msg: Msg, begun: _Begun) -> OpenTask:
    waiting, sequence = waiting_in(msg)
    upto = await begun.upto(waiting.subject)
    state: State = "running" if sequence <= upto else "waiting"
    return OpenTask(state, waiting, task_of(waiting), sequence)


def _later(entry: ScheduleEntry) -> Parcel | None:
    """The task that a schedule publishes; None if it is an event, or none of ours."""
    try:
        target = Subject.parse(entry.target)
    except SubjectError:
        return None
    if target.type != "task":
        return None
    return Parcel(
        data=entry.data, headers=entry.headers, subject=target, attempt=0, stored_at=0, sequence=0
    )


class _Begun:
    """How far the consumers of WORK have delivered."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._env = subjects.env
        self._known: dict[str, int] = {}

    async def upto(self, task: Subject) -> int:
        """The sequence of the newest task that was delivered of those that share its consumer."""
        name = consumer_name(self._env, route_of(task), task.priority)
        if name not in self._known:
            self._known[name] = await self._delivered(name)
        return self._known[name]

    async def _delivered(self, consumer: str) -> int:
        try:
            info = await jetstream.api(self._bus, f"CONSUMER.INFO.{WORK}.{consumer}")
        except ApiError:
            return 0  # no agent has ever pulled such a task
        return int(info["delivered"]["stream_seq"])
