"""Cancelling a conversation or a task: it ends running and waiting tasks of all agents."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from agentd.queue.cancellations import Scope
from agentd.runtime.cancellation import cancel
from agentd.tools.agent_tool import AgentTools

if TYPE_CHECKING:
    from tests.integration.conftest import Team

SLOW = """
capabilities: [checking]
limits: {concurrency: 1}
model: {name: mock/script, script: [{text: late, latency: 60s}]}
"""
ASKS = """
capabilities: [planning]
tools: [{agent: checker}]
model:
  name: mock/script
  script: [{tool_calls: [{name: checker, arguments: {instruction: look}}]}, done]
"""


async def in_flight(team: Team, **wanted: int) -> None:
    """Waits until these agents run these numbers of tasks."""
    async with asyncio.timeout(20):
        for delay in itertools.repeat(0.02):
            if all(team.runtime.agents[name].in_flight == n for name, n in wanted.items()):
                return
            await asyncio.sleep(delay)


def codes(results: list[dict[str, Any]]) -> list[str]:
    return [result["error"]["code"] for result in results]


@pytest.mark.parametrize("scope", [Scope("conversation", "c"), Scope("task", "root")])
async def test_cancelling_a_task_cancels_the_agents_that_it_called(
    team: Team, scope: Scope
) -> None:
    team.openers["agent"] = AgentTools(team.bus, team.subjects)
    await team.run(asker=ASKS, checker=SLOW)
    context = {"conversationId": "c"}
    asking = asyncio.create_task(team.ask("planning", "go", id="root", context=context))
    await in_flight(team, asker=1, checker=1)
    await cancel(team.bus, team.subjects, scope)
    assert codes([await asking]) == ["cancelled"]
    await in_flight(team, asker=0, checker=0)
    await team.at_rest()


async def test_waiting_tasks_are_removed_from_work(team: Team) -> None:
    await team.run(checker=SLOW)
    context = {"conversationId": "c"}
    asking = [team.ask("checking", f"{n}", context=context) for n in range(5)]
    mine = asyncio.gather(*asking)
    others = asyncio.create_task(team.ask("checking", "mine", id="other"))
    await in_flight(team, checker=1)
    await cancel(team.bus, team.subjects, Scope("conversation", "c"))
    assert codes(await mine) == ["cancelled"] * 5
    assert not others.done()
    await cancel(team.bus, team.subjects, Scope("task", "other"))
    assert codes([await others]) == ["cancelled"]
    await team.at_rest()


async def test_a_plain_message_cancels(team: Team) -> None:
    await team.run(checker=SLOW)
    asking = asyncio.create_task(team.ask("checking", "go", id="t1"))
    await in_flight(team, checker=1)
    for content in ("nonsense", {"task": "t1"}):
        message = {"id": f"m{len(str(content))}", "payload": {"content": content}}
        await team.send(team.subjects.event("cancel", "requested"), json.dumps(message).encode())
    assert codes([await asking]) == ["cancelled"]
