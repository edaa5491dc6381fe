"""`agentd ps`: lists the agents online, summed up over their replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentd.cli.shared import options
from agentd.cli.shared.console import say, say_json, table
from agentd.cli.shared.visit import visit

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.subjects import Subjects


def ps(as_json: options.Json = False, env: options.Env = None, nats: options.Nats = None) -> None:
    """List the agents online: revision, tasks, tokens, cost."""

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.routing import registry

        agents = registry.by_agent(await registry.online(bus, subjects.env))
        if as_json:
            say_json(agents, indent=2)
        elif not agents:
            say(f"no agent is online in {subjects.env!r}")
        else:
            _table(agents)
        return 0

    options.run(visit(work, env, nats))


def _table(agents: list[dict[str, Any]]) -> None:
    rows = table(
        "AGENT", "TAKES", "REPLICAS", "MODEL", "REVISION", "DONE", "FAILED", "RUNNING", "P50",
        "TOKENS", "COST",
    )  # fmt: skip
    for agent in agents:
        rows.add_row(
            agent["agent"],
            " ".join(agent["capabilities"]),
            str(agent["replicas"]),
            agent["model"] + (" (mock)" if agent["mock"] else ""),
            "/".join(agent["revisions"]) + (" · edit refused" if agent["refused"] else ""),
            f"{agent['done']:,}",
            f"{agent['failed']:,}",
            f"{agent['in_flight']}/{agent['concurrency']}",
            "-" if agent["p50"] is None else f"{agent['p50']:,.0f} ms",
            f"{agent['tokens']:,}",
            "unknown" if agent["cost"] is None else f"${agent['cost']:.4f}",
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
