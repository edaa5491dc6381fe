"""Another agent as a tool, and all agents with a capability at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agentd.errors import TaskError
from agentd.protocol.message import AgentIdentity, new
from agentd.routing.gather import Mode, gather
from agentd.tools.agent_tool import AgentTools
from tests.integration.test_turns import journal

if TYPE_CHECKING:
    from tests.integration.conftest import Team

ASKS = """
capabilities: [planning]
tools: [{{agent: {of}{more}}}]
model: {{name: mock/script, script: {script}}}
"""
HELPER = """
capabilities: [checking]
model: {{name: mock/script, script: [{turn}]}}
"""


def asks(of: str, *turns: Any, more: str = "") -> str:
    return ASKS.format(of=of, script=json.dumps(turns), more=more)


def helper(turn: Any) -> str:
    return HELPER.format(turn=json.dumps(turn))


def call(name: str) -> dict[str, Any]:
    arguments = {"instruction": "Is the sky green?"}
    return {"tool_calls": [{"name": name, "arguments": arguments}]}


@pytest.fixture
def team_of(team: Team) -> Team:
    team.openers["agent"] = AgentTools(team.bus, team.subjects)
    return team


async def tool_answer(team: Team, task: str) -> dict[str, Any]:
    [answer] = [each for each in await journal(team, task) if each["event"] == "tool_answered"]
    return answer


@pytest.mark.parametrize("of", ["checker", "checking"])
async def test_an_agent_is_asked_by_its_name_or_a_capability(team_of: Team, of: str) -> None:
    await team_of.run(me=asks(of, call(of), "So it is."), checker=helper("It is blue."))
    result = await team_of.ask("planning", "go", id="t1", context={"conversationId": "c"})
    assert result["data"] == "So it is."
    assert (await tool_answer(team_of, "t1"))["text"] == "It is blue."


async def test_the_error_of_an_agent_is_the_answer_of_the_tool(team_of: Team) -> None:
    refused = {"error": {"status": 400, "message": "no"}}
    await team_of.run(me=asks("checker", call("checker"), "Hm."), checker=helper(refused))
    assert (await team_of.ask("planning", "go", id="t1"))["data"] == "Hm."
    answer = await tool_answer(team_of, "t1")
    assert answer["error"]
    assert "model_rejected" in answer["text"]


@pytest.mark.parametrize(
    ("instruction", "answered"),
    [
        ('{"order": "A-1"}', "It is blue."),
        ("Refund A-1.", "'Refund A-1.' is not of type 'object'; write the instruction as the JSON"),
        ('{"order": 1}', "payload.content.order: 1 is not of type 'string'"),
    ],
)
async def test_an_agent_that_accepts_no_text_gets_the_json_in_it(
    team_of: Team, instruction: str, answered: str
) -> None:
    accepts = "accepts: {type: object, properties: {order: {type: string}}}\n"
    asked = {"tool_calls": [{"name": "checker", "arguments": {"instruction": instruction}}]}
    await team_of.run(me=asks("checker", asked, "So."), checker=helper("It is blue.") + accepts)
    assert (await team_of.ask("planning", "go", id="t1"))["data"] == "So."
    assert answered in (await tool_answer(team_of, "t1"))["text"]


async def test_an_agent_that_is_not_online_is_an_immediate_error(team_of: Team) -> None:
    await team_of.run(me=asks("checker", call("checker"), "Hm."))
    await team_of.ask("planning", "go", id="t1")
    assert "no agent online" in (await tool_answer(team_of, "t1"))["text"]


async def test_agents_that_ask_each_other_end_at_the_limit(team_of: Team) -> None:
    loop = [call("planning"), "Done."]
    await team_of.run(me=asks("planning", *loop) + "limits: {hops: 3}\n")
    assert (await team_of.ask("planning", "go"))["data"] == "Done."
    letters = await team_of.letters()
    assert {(letter.headers or {})["Agentd-Reason"] for letter in letters} <= {"hops", "loop"}


@pytest.mark.parametrize(
    ("mode", "answers", "answered"),
    [
        ("all", ["Blue.", "Red", "blue"], {"a": "Blue.", "b": "Red", "c": "blue"}),
        ("majority", ["Blue.", "Red", " blue"], "blue"),
        ("majority", ["Blue", "Red", "Green"], None),
    ],
)
async def test_all_agents_with_the_capability_are_asked(
    team: Team, mode: Mode, answers: list[str], answered: Any
) -> None:
    await team.run(**{name: helper(text) for name, text in zip("abc", answers, strict=True)})
    message = new("task", "Which colour?", source=AgentIdentity(id="somebody"))
    found = await gather(team.bus, team.subjects, "checking", message, mode=mode, timeout=20)
    assert found.asked == ("a", "b", "c")
    if mode == "all":
        assert {vote.agent: vote.content["data"] for vote in found.votes} == answered
    else:
        assert (found.agreed and found.agreed.ballot) == answered


async def test_the_first_success_is_enough(team: Team) -> None:
    slow = {"text": "late", "latency": "20s"}
    refused = {"error": {"status": 400, "message": "no"}}
    await team.run(a=helper(slow), b=helper("soon"), c=helper(refused))
    message = new("task", "Which colour?", source=AgentIdentity(id="somebody"))
    found = await gather(team.bus, team.subjects, "checking", message, mode="first", timeout=20)
    assert [(vote.agent, vote.content["data"]) for vote in found.votes] == [("b", "soon")]


async def test_gathering_without_an_agent_is_refused(team: Team) -> None:
    await team.run(a=helper("yes"))
    message = new("task", "?", source=AgentIdentity(id="somebody"))
    with pytest.raises(TaskError, match="no agent online"):
        await gather(team.bus, team.subjects, "painting", message, timeout=1)


async def test_a_tool_can_ask_for_the_majority(team_of: Team) -> None:
    me = asks("checking", call("checking"), "Good.", more=", gather: majority")
    await team_of.run(me=me, a=helper("Blue"), b=helper("blue."), c=helper("Red"))
    await team_of.ask("planning", "go", id="t1")
    assert (await tool_answer(team_of, "t1"))["text"] in ("Blue", "blue.")
