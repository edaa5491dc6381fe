"""`agentd schedules`: lists and removes schedules."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentd.cli.shared import options
from agentd.cli.shared.console import say, say_json, say_left_out, table
from agentd.cli.shared.visit import visit

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.subjects import Subjects

schedules = typer.Typer(name="schedules", help="List or remove what will be sent later.")

_SHOWN = 60  # characters of a content in the table


@schedules.command()
def ls(as_json: options.Json = False, env: options.Env = None, nats: options.Nats = None) -> None:
    """List the schedules of agents, and the messages for later."""

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.routing.scheduled import listed

        first, total = await listed(bus, subjects)
        found = [each.as_json() for each in first]
        say_left_out(total - len(found), "later messages")
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
        from agentd.protocol.actor import person
        from agentd.routing import scheduled

        for name in names:
            await scheduled.remove(bus, subjects, name, by=person())
            say(f"{name} removed")
        return 0

    options.run(visit(work, env, nats))


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
