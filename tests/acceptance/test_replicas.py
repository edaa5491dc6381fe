"""Several replicas share one queue: the others continue when one of them ends."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

from outside import Daemon, Project, eventually


def answered(up: Daemon, agent: str) -> int:
    """How many tasks a process has answered, by its metrics."""
    series = f'agent_tasks_total{{agent_id="{agent}",status="success"}} '
    for line in up.get("/metrics")[1].splitlines():
        if line.startswith(series):
            return int(float(line.removeprefix(series)))
    return 0


async def ps(project: Project) -> dict[str, Any]:
    """The entry of the only agent in `agentd ps --json`; empty if it is offline."""
    agents = json.loads((await project.run("ps", "--json")).out)
    return agents[0] if agents else {}


async def test_a_second_up_shares_the_work_and_outlives_the_first(project: Project) -> None:
    """The first one also started the nats-server, which ends together with it."""
    project.slow_agent("worker", "100ms", "limits: {concurrency: 2}")
    first = project.up().ready()
    server = project.server()
    second = project.up().ready()
    assert project.server() == server
    agent = await ps(project)
    assert (agent["replicas"], agent["concurrency"]) == (2, 4)
    assert {each["pid"] for each in agent["instances"]} == {first.pid, second.pid}
    async with project.wire() as wire:
        results = await wire.watch("result.worker.*.*")
        for number in range(20):
            await wire.task("worker", f"shared{number}")
        await eventually(lambda: len(results) == 20)
        shares = answered(first, "worker"), answered(second, "worker")
        assert sum(shares) == 20
        assert min(shares) >= 4

        for number in range(20):
            await wire.task("worker", f"handed-over{number}")
        assert first.stop(signal.SIGINT) == 0
        for number in range(20):
            assert (await wire.result(f"handed-over{number}")).content["success"]
        await wire.task("worker", "afterwards")
        assert (await wire.result("afterwards")).content["success"]
        await eventually(lambda: second.get("/readyz")[0] == 200)
        assert len(await wire.recorded("result.worker.*.*")) == 41
    now = project.server()
    assert (now["url"], now["token"]) == (server["url"], server["token"])
    assert now["pid"] != server["pid"]
    # The registry was in the memory of the server that ended. The other replica fills it again.
    agent = await eventually(lambda: ps(project))
    assert (agent["replicas"], agent["instances"][0]["pid"]) == (1, second.pid)


async def test_an_edit_reaches_every_replica(guest: Project) -> None:
    guest.agent("worker", prompt="One.")
    both = [guest.up(), guest.up()]
    for up in both:
        up.ready()
    guest.agent("worker", prompt="Two.")
    async with guest.wire() as wire:
        await wire.event("reloaded", "worker", count=2)
        events = await wire.events("reloaded", "worker")
    assert len({event["instance"] for event in events}) == 2
    assert len({event["revision"] for event in events}) == 1
    agent = await ps(guest)
    assert agent["revisions"] == [events[0]["revision"]]
    codes = await asyncio.gather(*(asyncio.to_thread(up.stop) for up in both))
    assert codes == [0, 0]
    # A replica that drains removes its entry immediately.
    assert "no agent is online" in (await guest.run("ps")).out
