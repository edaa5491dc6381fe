"""What will be sent later: the schedules of agents, and single messages; listed and removed."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agentd.errors import UsageError
from agentd.nats import jetstream, schedules
from agentd.nats.bus import Bus
from agentd.nats.records import shortlist
from agentd.nats.schedules import ScheduleEntry, announced, pending
from agentd.protocol.actor import Actor, named_by
from agentd.protocol.message import AgentIdentity, Context, encode, new
from agentd.protocol.subjects import Subjects
from agentd.routing import registry
from agentd.routing.timetable import clock_changes, in_words, next_time


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    """What will be sent later.

    Attributes:
        id: that of the message; of the schedule of an agent, its name with an `@`.
        when: `once`, or how often, in words.
        next: when it is sent next, RFC 3339; None if that cannot be known here.
        clock_changes: what the clock changes of the coming year do to it: `time` and `effect`.
        to: the subject without the environment.
        content: that of the message; its text if it is none of agentd.
    """

    id: str
    when: str
    next: str | None
    clock_changes: Sequence[dict[str, str]]
    to: str
    content: Any

    def as_json(self) -> dict[str, Any]:
        """Its fields."""
        return asdict(self)


async def listed(
    bus: Bus, subjects: Subjects, only: Callable[[str], bool] = lambda _: True
) -> tuple[list[Scheduled], int]:
    """What is scheduled in an environment: agents, then messages in the order of their times. There
    is a limit to how many; the number is that of all.

    `only` says whether what is sent to a subject (without the environment) is wanted.

    Raises:
        BusError: the server does not answer.
    """

    async def wanted() -> AsyncIterator[ScheduleEntry]:
        for kind in ("agent", "message"):
            async for entry in pending(bus, subjects.schedule(kind, "*")):
                if only(_to(entry)):
                    yield entry

    entries, total = await shortlist(wanted(), _order, lambda entry: len(entry.data))
    now = time.time()
    return [_scheduled(each, await announced(bus, each), now) for each in entries], total


def _order(entry: ScheduleEntry) -> tuple[bool, float]:
    """Agents, then messages by their times."""
    is_message = ".message." in entry.subject
    return is_message, (entry.timing.moment or 0.0) if is_message else 0.0


def _to(entry: ScheduleEntry) -> str:
    return entry.target.split(".", 2)[2]


async def remove(bus: Bus, subjects: Subjects, name: str, *, by: Actor) -> None:
    """Removes what is scheduled: that of `@agent`, or the message whose id begins with `name`. An
    event records by whom.

    Raises:
        UsageError: nothing or more than one thing has this name, or the agent is online.
        BusError: the server does not answer.
    """
    if name.startswith("@"):
        # A replica that is online would write the schedule of its agent again.
        await _require_offline(bus, subjects, name[1:])
        subject = subjects.schedule("agent", name[1:])
    else:
        subject = await _message(bus, subjects, name)
    if not await schedules.remove(bus, subject):
        raise UsageError(f"{name} is not scheduled (any more); see: agentd schedules ls")
    removed = ("@" if name.startswith("@") else "") + subject.rpartition(".")[2]
    event = new(
        "event",
        {"event": "schedule_removed", "schedule": removed, **named_by(by)},
        source=AgentIdentity(id="agentd-schedules", type="runtime"),
        context=Context(conversation_id="system"),
    )
    fact = subjects.event("status", "unscheduled")
    await jetstream.store(bus, fact, encode(event), message_id=event.id)


async def _require_offline(bus: Bus, subjects: Subjects, agent: str) -> None:
    if any(replica.agent == agent for replica in await registry.online(bus, subjects.env)):
        raise UsageError(f"{agent} is online: remove `schedule` from its manifest instead")


async def _message(bus: Bus, subjects: Subjects, name: str) -> str:
    """The subject of the schedule of the message whose id begins with `name`."""
    every = pending(bus, subjects.schedule("message", "*"))
    ids = [entry.subject.rpartition(".")[2] async for entry in every]
    found = [name] if name in ids else [each for each in ids if each.startswith(name)]
    if len(found) > 1:
        raise UsageError(f"{len(found)} scheduled messages have an id that begins with {name}")
    return subjects.schedule("message", found[0] if found else name)


def _scheduled(entry: ScheduleEntry, announced: float | None, now: float) -> Scheduled:
    kind, _, name = entry.subject.rpartition(".")
    moment = next_time(entry, announced, now)
    once = entry.timing.moment is not None
    return Scheduled(
        id=f"@{name}" if kind.endswith("agent") else name,
        when="once" if once else in_words(entry.timing),
        next=moment and moment.isoformat(timespec="seconds"),
        clock_changes=[
            {"time": each.wall.isoformat(timespec="minutes"), "effect": each.kind}
            for each in clock_changes(entry.timing, now)
        ],
        to=_to(entry),
        content=_content(entry.data),
    )


def _content(data: bytes) -> Any:
    """The content of a message; the text of other bytes, since any program may schedule some."""
    try:
        return json.loads(data)["payload"]["content"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return data.decode(errors="replace")
