"""What waits, as the metrics show it: read from a real server, with real agents."""

from __future__ import annotations

import asyncio
import math
import time

from prometheus_client.parser import text_string_to_metric_families

from agentd.nats.bus import Bus
from agentd.protocol.message import new_id
from agentd.runtime.backlog import Backlog
from agentd.tools.ask_tool import AskTools
from tests.integration.conftest import Team
from tests.waiting import PATIENCE, until

SLOW = """
description: Slow.
capabilities: [slow]
limits: {concurrency: 1}
model: {name: mock/script, script: [{text: done, latency: 1h}]}
"""
CURIOUS = """
description: Asks.
capabilities: [curious]
tools: [{ask: person}]
model:
  name: mock/script
  script: [{tool_calls: [{name: ask_person, arguments: {question: "Which?"}}]}, done]
"""


def shown(team: Team, name: str, **labels: str) -> float:
    text = team.metrics.expose()[0].decode()
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    return found.get((name, *sorted(labels.items())), math.nan)


async def send(team: Team, domain: str, priority: int = 5) -> None:
    subject = f"{team.subjects.task(domain, 'x')}.{priority}"
    await team.send(subject, {"id": new_id(), "payload": {"content": "hi"}})


async def test_the_depth_and_the_age_of_a_queue(team: Team) -> None:
    await team.run(slow=SLOW)
    began = time.time()
    await send(team, "slow")
    await until(lambda: shown(team, "agentd_tasks_in_flight", agent_id="slow") == 1)
    reading = Backlog(team.runtime.queue, team.metrics)
    await reading.read()
    # What runs does not wait.
    assert shown(team, "agentd_queue_depth", route="slow") == 0
    assert shown(team, "agentd_queue_age_seconds", route="slow") == 0
    for priority in (5, 5, 9):
        await send(team, "slow", priority)
    await Backlog(team.runtime.queue, team.metrics).read()
    assert shown(team, "agentd_queue_depth", route="slow") == 3
    assert 0 < shown(team, "agentd_queue_age_seconds", route="slow") <= time.time() - began + 1
    assert shown(team, "agentd_queue_depth", route="_agent.slow") == 0
    # A second look within a moment costs the server nothing.
    await send(team, "slow")
    await reading.read()
    assert shown(team, "agentd_queue_depth", route="slow") == 3


async def test_what_waits_for_people(team: Team) -> None:
    team.openers["ask"] = AskTools()
    await team.run(curious=CURIOUS)
    await Backlog(team.runtime.queue, team.metrics).read()
    assert shown(team, "agentd_approvals_waiting") == 0
    assert shown(team, "agentd_dead_letters") == 0
    await send(team, "curious")
    await team.send(team.subjects.task("curious", "x"), b"no json")
    async with asyncio.timeout(PATIENCE):
        while shown(team, "agentd_approvals_waiting") + shown(team, "agentd_dead_letters") < 2:
            await Backlog(team.runtime.queue, team.metrics).read()
            await asyncio.sleep(0.05)
    assert shown(team, "agentd_approvals_waiting") == 1
    assert shown(team, "agentd_dead_letters") == 1


async def test_without_a_server_nothing_is_known(team: Team, bus: Bus) -> None:
    await team.run(slow=SLOW)
    reading = Backlog(team.runtime.queue, team.metrics)
    await reading.read()
    assert shown(team, "agentd_dead_letters") == 0
    await bus.close()
    await Backlog(team.runtime.queue, team.metrics).read()
    assert math.isnan(shown(team, "agentd_dead_letters"))
    assert math.isnan(shown(team, "agentd_queue_depth", route="slow"))
