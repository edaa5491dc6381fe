"""Agents that fail are restarted and shown, without effect on others; tasks that are given up."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from agentd.nats import jetstream
from agentd.nats.streams import WORK
from agentd.protocol.server_subjects import consumer_advisory, next_message
from agentd.queue import dead_letters
from agentd.queue.queue import Puller
from agentd.routing import registry

if TYPE_CHECKING:
    from agentd.queue.delivery import Delivery
    from tests.integration.conftest import Team

FINE = "capabilities: [analysis]\n"
SLOW = """
capabilities: [analysis]
model: {name: mock/script, script: [{text: done, latency: 1s}]}
"""
FAILS = """
capabilities: [research]
model: {name: mock/script, script: [{error: {status: 400, message: no}}]}
"""


async def test_a_bug_in_one_agent_does_not_stop_the_others(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    await team.run(good=FINE, bad=FAILS)
    bad = team.runtime.agents["bad"]
    real, broken = Puller.pull, 3

    async def pull(puller: Puller, most: int) -> list[Delivery]:
        nonlocal broken
        if puller is bad._puller and broken:  # pyright: ignore[reportPrivateUsage]
            broken -= 1
            raise ZeroDivisionError("a bug")
        return await real(puller, most)

    monkeypatch.setattr(Puller, "pull", pull)
    await team.ask("research", "wakes the pull that waits")
    for number in range(20):
        assert (await team.ask("analysis", f"{number}"))["success"]
    assert "error" in await team.ask("research", "still there?")
    assert bad.restarts == 3
    assert team.runtime.agents["good"].restarts == 0


async def test_an_agent_of_the_same_name_elsewhere_is_warned_of_once(
    team: Team, other: Team, caplog: pytest.LogCaptureFixture
) -> None:
    await team.run(good=FINE)
    assert "another agent" not in caplog.text
    await other.run(good=FINE)
    await other.run(more="capabilities: [more]\n")
    await other.runtime.drain(1)  # waits for what runs in the background
    [warning] = [each for each in caplog.messages if each.startswith("another agent")]
    assert f"another agent has the name good: process {os.getpid()} on " in warning
    assert f" from {team.folder}/manifests/good.yaml, on revision " in warning


async def test_an_agent_that_keeps_failing_is_shown(team: Team) -> None:
    await team.run(bad=FAILS)
    for number in range(5):
        await team.ask("research", f"{number}")
    assert team.runtime.agents["bad"].state.startswith("failing: ")
    async with asyncio.timeout(10):
        for delay in itertools.repeat(0.05):
            [shown] = registry.by_agent(await registry.online(team.bus, team.subjects.env))
            if shown["state"].startswith("failing"):
                break
            await asyncio.sleep(delay)


async def limited_consumer(team: Team, **config: Any) -> str:
    """A consumer as an operator has limited it: then the server itself drops tasks."""
    consumer = f"{team.subjects.env}+analysis+5"
    config = {
        "durable_name": consumer,
        "name": consumer,
        "filter_subject": team.subjects.work("analysis", priority=5),
        "ack_policy": "explicit",
        "max_deliver": 2,
        **config,
    }
    request = {"stream_name": WORK, "config": config}
    await jetstream.api(team.bus, f"CONSUMER.DURABLE.CREATE.{WORK}.{consumer}", request)
    return consumer


@pytest.mark.parametrize("limit", [-1, 2])
async def test_an_advisory_of_a_stranger_ends_no_task_that_runs(team: Team, limit: int) -> None:
    """Any client may publish one. What the server says of its consumer decides."""
    consumer = await limited_consumer(team, max_deliver=limit)
    await team.run(slow=SLOW)
    subject = team.subjects.task("analysis", "x")
    for number in (1, 2):
        await team.send(subject, {"id": f"t{number}", "payload": {"content": "hello"}})
    place = consumer_advisory("MAX_DELIVERIES", WORK).replace("*", consumer)
    newest = 0
    while not newest:  # the server copies tasks from LOG to WORK after it has acknowledged them
        newest, _ = await jetstream.newest(team.bus, WORK, team.subjects.work("analysis"))
    for sequence in range(newest - 1, newest + 2):
        claim = {"consumer": consumer, "stream_seq": sequence, "deliveries": 9}
        await team.bus.publish(place, json.dumps(claim).encode())
    for number in (1, 2):
        result = await team.result(team.subjects.result("analysis", "x", f"t{number}"))
        assert result.payload.content["success"]
    await team.at_rest()
    assert await team.letters() == []


async def test_a_task_that_the_server_gave_up_is_dead_lettered(team: Team) -> None:
    consumer = await limited_consumer(team, ack_wait=50_000_000)
    await team.send(
        team.subjects.task("analysis", "x"), {"id": "t1", "payload": {"content": "hello"}}
    )
    inbox = team.bus.new_inbox()
    pulled: asyncio.Queue[object] = asyncio.Queue()
    await team.bus.subscribe(inbox, pulled.put)
    for _ in range(3):  # the server publishes its advisory only at the next pull
        pull = next_message(WORK, consumer)
        await team.bus.publish(pull, b'{"batch": 1, "expires": 300000000}', reply=inbox)
        await asyncio.wait_for(pulled.get(), 5)
        await asyncio.sleep(0.1)
    result = await team.result(team.subjects.result("analysis", "x", "t1"))
    assert result.payload.content["error"]["code"] == "given_up"
    await team.at_rest()
    [letter] = [each async for each in dead_letters.listed(team.bus, team.subjects)]
    assert (letter.task_id, letter.reason, letter.attempts) == ("t1", "given_up", 2)
