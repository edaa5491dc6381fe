"""`agentd schedules`: lists and removes schedules."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentd.cli.shared import options
from agentd.cli.shared.console import say, say_json, table
from agentd.cli.shared.visit import visit

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.nats.schedules import ScheduleEntry
    from agentd.protocol.subjects import Subjects

schedules = typer.Typer(name="schedules", help="List or remove what will be sent later.")

_SHOWN = 60  # characters of a content in the table


@schedules.command()
def ls(as_json: options.Json = False, env: options.Env = None, nats: options.Nats = None) -> None:
    """List the schedules of agents, and the messages for later."""

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.nats.schedules import announced

        now = time.time()
        found = [
            _as_json(entry, await announced(bus, entry), now) for entry in await _all(bus, subjects)
        ]
        if as_json:
            say_json(found, indent=2)
            return 0
        if not found:
            say(f"nothing is scheduled in {subjects.env!r}")
            return 0
        _show(found)
        return 0

    options.run(visit(work, env, nats))


options.list_without_command(schedules, ls)


@schedules.command()
def rm(
    names: Annotated[
        list[str],
        typer.Argument(help="Ids of messages or their beginnings; @agent for its schedule."),
    ],
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Remove schedules: what is not due yet is not sent."""

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.errors import UsageError
        from agentd.nats import schedules
        from agentd.runtime import agent_schedules

        for name in names:
            if name.startswith("@"):
                # A replica that is online would write the schedule of its agent again.
                await agent_schedules.require_offline(bus, subjects, name[1:])
                subject = subjects.schedule("agent", name[1:])
            else:
                subject = await _message(bus, subjects, name)
            if not await schedules.remove(bus, subject):
                raise UsageError(f"{name} is not scheduled (any more); see: agentd schedules ls")
            say(f"{name} removed")
        return 0

    options.run(visit(work, env, nats))


async def _message(bus: Bus, subjects: Subjects, name: str) -> str:
    """The subject of the schedule of the message whose id begins with `name`.

    Raises:
        UsageError: there are several.
    """
    from agentd.errors import UsageError
    from agentd.nats.schedules import pending

    ids = [
        entry.subject.rpartition(".")[2]
        async for entry in pending(bus, subjects.schedule("message", "*"))
    ]
    found = [name] if name in ids else [each for each in ids if each.startswith(name)]
    if len(found) > 1:
        raise UsageError(f"{len(found)} scheduled messages have an id that begins with {name}")
    return subjects.schedule("message", found[0] if found else name)


async def _all(bus: Bus, subjects: Subjects) -> list[ScheduleEntry]:
    from agentd.nats.schedules import pending

    agents = [each async for each in pending(bus, subjects.schedule("agent", "*"))]
    messages = [each async for each in pending(bus, subjects.schedule("message", "*"))]
    return agents + sorted(messages, key=lambda each: each.timing.moment or 0)


def _as_json(entry: ScheduleEntry, announced: float | None, now: float) -> dict[str, Any]:
    from agentd.runtime.timetable import clock_changes, in_words, next_time

    kind, _, name = entry.subject.rpartition(".")
    moment = next_time(entry, announced, now)
    once = entry.timing.moment is not None
    return {
        "id": f"@{name}" if kind.endswith("agent") else name,
        "when": "once" if once else in_words(entry.timing),
        "next": moment and moment.isoformat(timespec="seconds"),
        "clock_changes": [
            {"time": each.wall.isoformat(timespec="minutes"), "effect": each.kind}
            for each in clock_changes(entry.timing, now)
        ],
        "to": entry.target.split(".", 2)[2],
        "content": _content(entry.data),
    }


def _show(found: list[dict[str, Any]]) -> None:
    """Prints the schedules as a table.

    A time has the offset of its zone: the two times of a repeated hour differ in nothing else.
    """
    from agentd.protocol.message import short_id

    below = ["SENT TO", "CONTENT"]
    if any(each["clock_changes"] for each in found):
        below.append("CLOCK CHANGES")
    rows = table("SCHEDULE", "WHEN", "NEXT", *below, below=below)
    for each in found:
        content = json.dumps(each["content"], ensure_ascii=False)[:_SHOWN]
        changes = ", ".join(
            f"{change['time'].replace('T', ' ')} {change['effect']}"
            for change in each["clock_changes"]
        )
        cells = [short_id(each["id"]), each["when"], each["next"] or "", each["to"], content]
        rows.add_row(*cells, *[changes][: len(below) - 2])
    rows.show()


def _content(data: bytes) -> Any:
    """The content of a message; the text of other bytes, since any program may schedule some."""
    try:
        return json.loads(data)["payload"]["content"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return data.decode(errors="replace")
