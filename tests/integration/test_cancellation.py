"""Cancelling a conversation or a task: it ends running and waiting tasks of all agents."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from agentd.cli.shared.visit import Work
from agentd.cli.stop import Kind, cancel_open, list_cancelled, undo_cancelled
from agentd.errors import UsageError
from agentd.nats import jetstream
from agentd.nats.streams import LOG
from agentd.protocol.actor import Actor
from agentd.queue import cancellations
from agentd.queue.approvals import waiting
from agentd.queue.cancellations import Scope
from agentd.runtime.cancellation import cancel, in_words
from agentd.runtime.open_tasks import State, open_tasks
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


GATED = """
capabilities: [gated]
tools: [{agent: checker, approval: true}]
model:
  name: mock/script
  script: [{tool_calls: [{name: checker, arguments: {instruction: look}}]}, done]
"""


async def suspended(team: Team, task: str) -> None:
    """Waits until this task is suspended."""
    async with asyncio.timeout(20):
        for delay in itertools.repeat(0.05):
            if task in {each.task for each in await waiting(team.bus, team.subjects)}:
                return
            await asyncio.sleep(delay)


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


async def test_the_answer_says_how_many_tasks_ended(team: Team) -> None:
    team.openers["agent"] = AgentTools(team.bus, team.subjects)
    await team.run(checker=SLOW, gated=GATED)
    context = {"conversationId": "c"}
    asking = [team.ask("checking", f"{n}", context=context) for n in range(3)]
    mine = asyncio.gather(*asking, team.ask("gated", "go", id="gated", context=context))
    await in_flight(team, checker=1)
    await suspended(team, "gated")
    found = open_tasks(team.bus, team.subjects)
    known: dict[str, State] = {each.message.id: each.state async for each in found}
    ended = await cancel(team.bus, team.subjects, Scope("conversation", "c"), known)
    assert in_words(ended) == "1 running, 2 waiting, 1 suspended"
    assert codes(await mine) == ["cancelled"] * 4
    assert await waiting(team.bus, team.subjects) == []
    await team.at_rest()


async def test_a_task_with_a_foreign_subject_stops_no_cancellation(team: Team) -> None:
    await team.run(checker=SLOW)
    await team.send(f"agents.{team.subjects.env}.task.prüfen.x", b"{}")
    asking = asyncio.create_task(team.ask("checking", "go", id="t1"))
    await in_flight(team, checker=1)
    await cancel(team.bus, team.subjects, Scope("task", "t1"))
    assert codes([await asking]) == ["cancelled"]


class Commands:
    """`agentd stop`, and what it prints."""

    def __init__(self, team: Team, capsys: pytest.CaptureFixture[str]) -> None:
        self._team = team
        self._capsys = capsys

    async def run(self, work: Work) -> str:
        self._capsys.readouterr()
        assert await work(self._team.bus, self._team.subjects) == 0
        return self._capsys.readouterr().out.strip()


@pytest.fixture
def commands(team: Team, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(team, capsys)


async def test_the_command_takes_the_beginning_of_an_id(team: Team, commands: Commands) -> None:
    await team.run(checker=SLOW)
    context = {"conversationId": "chat 12"}
    asking = [team.ask("checking", "x", id=name, context=context) for name in ("abc1", "abc2")]
    both = asyncio.gather(*asking)
    await in_flight(team, checker=1)
    with pytest.raises(UsageError, match="2 tasks have an id that begins with abc: abc1, abc2"):
        await commands.run(cancel_open("task", "abc", False))
    said = await commands.run(cancel_open("task", "abc1", False))
    assert said.startswith("task abc1 is cancelled; its tasks end: 1 ")
    said = await commands.run(cancel_open("conversation", "chat", True))
    stopped = {"env": team.subjects.env, "stopped": True}
    assert json.loads(said).items() >= {"conversation": "chat 12", **stopped}.items()
    assert codes(await both) == ["cancelled"] * 2
    listed = await commands.run(list_cancelled(False))
    assert [line.split()[:2] for line in listed.splitlines()[1:]] == [
        ["task", "abc1"],
        ["conversation", "chat"],
    ]
    said = await commands.run(undo_cancelled("conversation", "ch", False))
    assert said.startswith("conversation chat 12 may run again")
    said = json.loads(await commands.run(list_cancelled(True)))
    assert [each.get("task") for each in said] == ["abc1"]


@pytest.mark.parametrize("kind", ["task", "conversation"])
@pytest.mark.parametrize("given", ["nothing", "*", "not a token", "é"])
async def test_an_unknown_id_is_refused(
    team: Team, commands: Commands, kind: Kind, given: str
) -> None:
    with pytest.raises(UsageError, match=r"no open .* has an id that begins with"):
        await commands.run(cancel_open(kind, given, False))
    with pytest.raises(UsageError, match=r"no cancelled .* has an id that begins with"):
        await commands.run(undo_cancelled(kind, given, False))
    said = await commands.run(list_cancelled(False))
    assert said == f"nothing is cancelled in environment {team.subjects.env}"


async def test_what_is_over_is_not_cancelled(team: Team, commands: Commands) -> None:
    await team.run(me="capabilities: [fast]\n")
    await team.ask("fast", "x", id="t1", context={"conversationId": "chat"})
    await team.at_rest()  # a task is open until it is acknowledged, after its answer
    with pytest.raises(UsageError, match="task t1 is over: it was answered"):
        await commands.run(cancel_open("task", "t1", False))
    # A conversation may go on.
    said = await commands.run(cancel_open("conversation", "chat", False))
    assert "no task of it was open" in said
    context = {"conversationId": "chat"}
    assert codes([await team.ask("fast", "x", context=context)]) == ["cancelled"]


async def test_a_plain_message_cancels(team: Team) -> None:
    await team.run(checker=SLOW)
    asking = asyncio.create_task(team.ask("checking", "go", id="t1"))
    await in_flight(team, checker=1)
    for content in ("nonsense", {"task": "t1"}):
        message = {"id": f"m{len(str(content))}", "payload": {"content": content}}
        await team.send(team.subjects.event("cancel", "requested"), json.dumps(message).encode())
    assert codes([await asking]) == ["cancelled"]


async def test_a_cancellation_names_who_asked_for_it(team: Team) -> None:
    scope, by = Scope("conversation", "talk"), Actor("http", "ops")
    await cancel(team.bus, team.subjects, scope, by=by)
    await cancellations.undo(team.bus, team.subjects, Scope("task", "t9"), by=by)

    assert [each.by for each in await cancellations.listed(team.bus, team.subjects)] == ["ops"]
    for topic in (("conversation", "stopped"), ("task", "resumed")):
        note = await jetstream.last(team.bus, LOG, team.subjects.event(*topic))
        assert note is not None
        content = json.loads(note.data)["payload"]["content"]
        assert content["by"] == {"kind": "http", "name": "ops"}
