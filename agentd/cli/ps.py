"""`agentd ps`: lists the agents online, summed up over their replicas."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentd.cli.shared import options
from agentd.cli.shared.console import clear, say, say_json, table
from agentd.cli.shared.visit import visit

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.subjects import Subjects


_PAUSE = 2.0  # seconds between two looks of `--watch`


def ps(
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again every two seconds, until Ctrl-C.")
    ] = False,
    as_json: options.Json = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """List the agents online: revision, tasks, tokens, cost."""

    async def work(bus: Bus, subjects: Subjects) -> int:
        await _look(bus, subjects, as_json)
        while watch:
            await asyncio.sleep(_PAUSE)
            if not as_json:
                clear()
            await _look(bus, subjects, as_json)
        return 0

    options.run(visit(work, env, nats))


async def _look(bus: Bus, subjects: Subjects, as_json: bool) -> None:
    from agentd.routing import registry

    agents = registry.by_agent(await registry.online(bus, subjects.env))
    if as_json:
        say_json(agents, indent=2)
    elif not agents:
        say(f"no agent is online in {subjects.env!r}")
    else:
        _table(agents)


def _table(agents: list[dict[str, Any]]) -> None:
    rows = table(
        "AGENT", "RUNNING", "DONE", "FAILED", "P50", "TOKENS", "COST", "REPLICAS", "TAKES", "MODEL",
        "REVISION", below=("TAKES", "MODEL", "REVISION"),
    )  # fmt: skip
    for agent in agents:
        rows.add_row(
            agent["agent"],
            f"{agent['in_flight']}/{agent['concurrency']}",
            f"{agent['done']:,}",
            f"{agent['failed']:,}",
            "-" if agent["p50"] is None else f"{agent['p50']:,.0f} ms",
            "unknown" if agent["tokens"] is None else f"{agent['tokens']:,}",
            "unknown" if agent["cost"] is None else f"${agent['cost']:.4f}",
            str(agent["replicas"]),
            " ".join(agent["capabilities"]),
            (agent["model"] or "none") + (" (mock)" if agent["mock"] else ""),
            "/".join(agent["revisions"]) + (" · edit refused" if agent["refused"] else ""),
        )
    rows.show()
    for agent in agents:
        if agent["state"] != "ready":
            restarted = f" (restarted {agent['restarts']} times)" if agent["restarts"] else ""
            say(f"{agent['agent']}: {agent['state']}{restarted}")
        if agent["cut"]:
            say(f"{agent['agent']}: answers that were cut off: {agent['cut']:,}")
        for problem in agent["refused"]:
            say(f"{agent['agent']}: edit refused: {problem}")
