"""`agentd cost`: sums up what tasks have cost, by agent, model, conversation or day."""

from __future__ import annotations

import time
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentd.cli.record.indexed import indexed
from agentd.cli.record.past import Since, Until, moment
from agentd.cli.shared import options
from agentd.cli.shared.console import say, say_json, table

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.subjects import Subjects
    from agentd.record.index.index import Index
    from agentd.record.queries import Cost, Costs


class Group(StrEnum):
    agent = "agent"
    model = "model"
    conversation = "conversation"
    day = "day"


def cost(
    by: Annotated[Group, typer.Option("--by", help="What is summed up.")] = Group.agent,
    since: Since = None,
    until: Until = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=100_000, help="The dearest so many.")
    ] = 50,
    as_json: options.Json = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Sum up what the tasks on record have cost, from their results."""
    now = time.time()
    first, last = moment("--since", since, now), moment("--until", until, now)

    async def work(_: Bus, subjects: Subjects, index: Index) -> int:
        from agentd.record import queries

        found = await index.ask(
            lambda db: queries.costs(
                db, subjects.env, by.value, since=first, until=last, limit=count
            )
        )
        if as_json:
            say_json(_as_json(found, by), indent=2)
        elif not found.groups:
            say(f"no result on record in {subjects.env!r} in this time")
        else:
            _show(found, by)
        return 0

    options.run(indexed(work, env, nats))


def _as_json(found: Costs, by: Group) -> dict[str, Any]:
    groups = [{by.value: each.group, **_sums(each)} for each in found.groups]
    return {"groups": groups, "total": _sums(found.total)}


def _sums(of: Cost) -> dict[str, Any]:
    sums = asdict(of)
    del sums["group"]
    return sums


def _show(found: Costs, by: Group) -> None:
    rows = table(
        by.value.upper(), "COST", "TASKS", "FAILED", "TOKENS IN", "TOKENS OUT", "COST UNKNOWN"
    )
    for each in (*found.groups, found.total):
        rows.add_row(
            each.group or "-",
            f"${each.cost:,.4f}",
            f"{each.tasks:,}",
            f"{each.failed:,}",
            f"{each.tokens_in:,}",
            f"{each.tokens_out:,}",
            f"{each.unknown:,}",
        )
    rows.show()
    if found.more:
        say(f"{found.more:,} more are in the total; see -n", err=True)
