"""Agents that call a tool in place of a model, on a real server."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from agentd.protocol.actor import Actor
from agentd.queue import approvals
from agentd.routing import registry
from agentd.tools.command_tool import CommandTools
from tests.integration.test_approvals import asked
from tests.integration.test_turns import journal

if TYPE_CHECKING:
    from tests.integration.conftest import Team

# Prints what it was called with; fails until the file that it counts in has enough lines.
PROGRAM = (
    "import json,sys; f = open('count', 'a+'); f.write('x'); f.flush(); f.seek(0);"
    "n = len(f.read()); sys.exit('busy') if n < int(sys.argv[2]) else "
    "print(json.dumps({'text': sys.argv[1], 'calls': n}))"
)
MANIFEST = f"""
capabilities: [notify]
tools:
  - command: ["{sys.executable}", -c, {json.dumps(PROGRAM)}, "{{{{ text }}}}", "{{{{ fails }}}}"]
    name: send
    MORE
call:
  tool: send
  arguments: {{text: content.title | upper, fails: content.fails | default('0')}}
emit: [{{event: note.sent, content: output.text}}]
retry: {{attempts: 3, backoff: 50ms}}
"""


@pytest.fixture
async def team_of(team: Team) -> AsyncIterator[Team]:
    team.openers["command"] = tools = CommandTools()
    yield team
    await tools.close()


async def test_the_answer_of_the_tool_is_the_result_and_is_emitted(team_of: Team) -> None:
    await team_of.run(notifier=MANIFEST.replace("MORE", "timeout: 20s"))
    result = await team_of.ask("notify", {"title": "hi"}, id="t1")
    assert result["data"] == {"text": "HI", "calls": 1}
    assert (result["model"], result["turns"], result["cost"]) == (None, 0, 0)
    [replica] = await registry.online(team_of.bus, team_of.subjects.env)
    assert (replica.agent, replica.model, replica.mock) == ("notifier", "", False)
    assert [each["event"] for each in await journal(team_of, "t1")] == ["turn", "tool_answered"]
    emitted = await team_of.result(team_of.subjects.event("note", "sent"))
    assert emitted.payload.content == "HI"


async def test_a_tool_that_fails_is_called_again_until_the_attempts_are_used(
    team_of: Team,
) -> None:
    await team_of.run(notifier=MANIFEST.replace("MORE", "timeout: 20s"))
    result = await team_of.ask("notify", {"title": "hi", "fails": "3"})
    assert result["data"] == {"text": "HI", "calls": 3}
    result = await team_of.ask("notify", {"title": "hi", "fails": "9"})
    assert result["error"]["code"] == "exhausted"
    assert "tool_failed" in result["error"]["message"]


async def test_a_call_waits_for_a_person_without_a_slot(team_of: Team) -> None:
    await team_of.run(notifier=MANIFEST.replace("MORE", "approval: true"))
    bus, subjects = team_of.bus, team_of.subjects
    await team_of.send(
        subjects.task("notify", "x"), {"id": "t1", "payload": {"content": {"title": "hi"}}}
    )
    request = await asked(team_of, "t1")
    assert request.calls[0]["arguments"] == {"text": "HI", "fails": "0"}
    await team_of.at_rest()
    await approvals.decide(bus, subjects, request, {"decision": "approve"}, by=Actor("cli", "eve"))
    result = await team_of.result(subjects.result("notify", "x", "t1"))
    assert result.payload.content["data"]["calls"] == 1
