"""kill -9, SIGTERM under load, a server that is away: no task is lost or answered twice."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from outside import Project, Wire, eventually, until

from agentd.nats.server import EmbeddedServer, RunningServer


@pytest.fixture
async def far(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A nats-server that agentd does not own. It is stopped and started at the same address."""
    server = EmbeddedServer(tmp_path / "far", "relaxed")
    yield server
    await server.stop()


def address(server: RunningServer) -> str:
    return server.url.replace("://", f"://{server.token}@")


async def test_a_task_whose_process_is_killed_is_answered_once(
    project: Project, guest: Project
) -> None:
    """The other replica answers it if there is one, or else agentd after a restart."""
    for each in (project, guest):
        each.slow_agent("worker", "1s")
    ups = alone, first, second = project.up(), guest.up(), guest.up()
    for up in ups:
        up.ready()
    async with project.wire() as here:
        await here.task("worker", "mid-task")
        until(lambda: 'agent_id="worker"} 1.0' in alone.get("/metrics")[1], "the task runs")
        alone.process.kill()
        alone.wait()
    async with guest.wire() as wire:
        results = await wire.watch("result.worker.*.*")
        tasks = [f"task{number}" for number in range(4)]
        for task in tasks:
            await wire.task("worker", task)
        busy = 'agentd_tasks_in_flight{agent_id="worker"} 0.0'
        until(lambda: busy not in first.get("/metrics")[1], "a task runs in the first")
        first.process.kill()
        restarted = project.up().ready()
        async with project.wire() as here:
            one, *others = await asyncio.gather(
                here.result("mid-task"), *(wire.result(task) for task in tasks)
            )
            assert await here.count("result.worker.*.*") == 1
            await eventually(lambda: none_waits(here))
        assert one.content["data"] == "done"
        assert {other.content["data"] for other in others} == {"done"}
        await eventually(lambda: none_waits(wire))
        assert Counter(seen.subject for seen in results) == Counter(o.subject for o in others)
    assert (restarted.stop(), second.stop()) == (0, 0)


async def none_waits(wire: Wire) -> bool:
    return await wire.waiting() == 0


async def test_a_killed_nats_server_is_replaced_and_nothing_is_lost(project: Project) -> None:
    project.slow_agent("worker", "20ms", "limits: {concurrency: 4}")
    project.environ["AGENTD_DURABILITY"] = "always"
    up = project.up().ready()
    before = project.server()
    async with project.wire() as wire:
        for number in range(50):
            await wire.task("worker", f"task{number}")
        os.kill(before["pid"], signal.SIGKILL)
        status, body = await eventually(
            lambda: seen if (seen := up.get("/readyz"))[0] != 200 else None, "not ready"
        )
        assert (status, "NATS" in body) == (503, True)
        assert up.get("/healthz")[0] == 200
        await eventually(lambda: up.get("/readyz")[0] == 200, "ready again")
        await wire.recorded("result.worker.*.*", 50)
        await wire.task("worker", "afterwards")
        assert (await wire.result("afterwards")).content["success"]
        await eventually(lambda: none_waits(wire))
        results = [seen.subject for seen in await wire.recorded("result.worker.*.*")]
    assert len(results) == len(set(results)) == 51
    assert project.server()["pid"] != before["pid"]
    assert up.stop() == 0


async def test_sigterm_under_load_loses_no_task(guest: Project) -> None:
    guest.slow_agent("worker", "300ms", "limits: {concurrency: 4}")
    up = guest.up("--grace", "20").ready()
    async with guest.wire() as wire:
        passed = await wire.watch("result.worker.*.*")
        for number in range(24):
            await wire.task("worker", f"task{number}")
        await eventually(lambda: len(passed) >= 4)
        assert up.stop(signal.SIGTERM) == 0
        answered, waiting = await wire.count("result.worker.*.*"), await wire.waiting()
        assert answered < 24
        assert answered + waiting == 24
        assert (await wire.event("offline", "worker"))["event"] == "agent_offline"
        guest.slow_agent("worker", "1ms", "limits: {concurrency: 4}")
        guest.up().ready()
        results = await wire.recorded("result.worker.*.*", 24)
        await eventually(lambda: none_waits(wire))
    assert all(result.content["success"] for result in results)
    assert Counter(seen.subject for seen in passed) == Counter(seen.subject for seen in results)


async def test_a_second_sigterm_hands_running_tasks_back_immediately(guest: Project) -> None:
    """Those of an agent whose manifest was removed, too."""
    guest.slow_agent("worker", "50s")
    guest.slow_agent("leaver", "50s")
    up = guest.up("--grace", "50").ready()
    async with guest.wire() as wire:
        await wire.task("worker", "long")
        await wire.task("leaver", "long-too")
        for agent in ("worker", "leaver"):
            busy = f'agentd_tasks_in_flight{{agent_id="{agent}"}} 1.0'
            until(lambda busy=busy: busy in up.get("/metrics")[1], "the task runs")
        (guest.root / "manifests" / "leaver.yaml").unlink()
        await wire.event("offline", "leaver")
        up.send_signal(signal.SIGTERM)
        until(lambda: "stopping" in up.err, "the drain")
        await asyncio.sleep(0.3)
        assert up.process.poll() is None
        began = time.monotonic()
        up.send_signal(signal.SIGTERM)
        assert up.wait() == 0
        assert time.monotonic() - began < 10
        assert (await wire.count("result.*.*.*"), await wire.waiting()) == (0, 2)
        guest.slow_agent("worker", "1ms")
        guest.slow_agent("leaver", "1ms")
        guest.up().ready()
        for task in ("long", "long-too"):
            assert (await wire.result(task)).content["data"] == "done"


async def test_a_drain_ends_without_a_server(guest: Project, far: EmbeddedServer) -> None:
    server = await far.ensure()
    for number in range(3):
        guest.agent(f"agent{number}")
    up = guest.up("--nats", address(server), "--grace", "1").ready()
    await far.stop()
    until(lambda: up.get("/readyz")[0] == 503, "that NATS is away")
    began = time.monotonic()
    assert up.stop() == 0
    assert time.monotonic() - began < 12


async def test_edits_without_a_server_are_live_when_it_is_back(
    guest: Project, far: EmbeddedServer
) -> None:
    """Edits before the first connection and during an outage: agents, prompts, capabilities."""
    server = await far.ensure()
    await far.stop()
    guest.environ["NATS_URL"] = address(server)
    guest.agent("early", prompt="One.")
    up = guest.up()
    until(lambda: "waiting for NATS" in up.err, "what it waits for")
    guest.agent("early", prompt="Two.")
    await far.ensure()
    up.ready()
    async with guest.wire() as wire:
        await answers_with(wire, "early", "Two.")
        await far.stop()
        until(lambda: up.get("/readyz")[0] == 503, "that NATS is away")
        guest.agent("late", prompt="One.")
        guest.agent("early", "capabilities: [early, more]", prompt="Three.")
        await asyncio.sleep(5.5)  # longer than a call of the JetStream API waits for its answer
        await far.ensure()
        until(lambda: up.get("/readyz")[0] == 200, "that NATS is back")
        for domain, prompt in (("late", "One."), ("early", "Three."), ("more", "Three.")):
            await answers_with(wire, domain, prompt)
        guest.agent("late", prompt="Two.")
        await answers_with(wire, "late", "Two.")


async def answers_with(wire: Wire, domain: str, prompt: str) -> None:
    """Waits until the agent that takes `domain` answers with this prompt."""

    async def answer() -> bool:
        task = f"{domain}-{time.monotonic_ns()}"
        await wire.task(domain, task)
        return f'told: "{prompt}"' in (await wire.result(task)).content["data"]

    await eventually(answer, f"{domain} says {prompt}")
