"""Turns of model and tools, as an agent takes them on the real server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from agentd.nats import jetstream
from agentd.nats.streams import LOG
from agentd.protocol.message import decode
from agentd.tools.port import Call, ToolError
from agentd.tools.toolbox import MOST_SHOWN

if TYPE_CHECKING:
    from agentd.catalog.spec import AgentSpec
    from agentd.manifest.tools import ToolEntry as Declared
    from tests.integration.conftest import Team

AGENT = """
capabilities: [analysis]
tools: [{{agent: weather, effects: true}}]
model: {{name: mock/script, script: {script}}}
{more}
"""


class Weather:
    """A tool, its source and its opener in one."""

    name, description, trouble, takes_key = "weather", "The weather of a city.", "", False
    parameters = {  # noqa: RUF012
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    }

    def __init__(self) -> None:
        self.asked: list[Call] = []

    @property
    def tools(self) -> Sequence[Weather]:
        return (self,)

    def open(self, entry: Declared, spec: AgentSpec) -> Weather:
        """Itself."""
        del entry, spec
        return self

    async def close(self) -> None: ...

    async def call(self, call: Call) -> Any:
        self.asked.append(call)
        match call.arguments["city"]:
            case "Atlantis":
                raise ToolError("Atlantis is under water")
            case "Babel":
                return "x" * 3 * MOST_SHOWN
            case "Bug":
                raise ZeroDivisionError("a bug")
            case city:
                return {"city": city, "sky": "grey"}


@pytest.fixture
def weather(team: Team) -> Weather:
    team.openers["agent"] = made = Weather()
    return made


def scripted(*turns: Any, more: str = "") -> str:
    return AGENT.format(script=json.dumps(turns), more=more)


def calls(*cities: Any, name: str = "weather") -> dict[str, Any]:
    return {"tool_calls": [{"name": name, "arguments": {"city": city}} for city in cities]}


async def journal(team: Team, task: str) -> list[dict[str, Any]]:
    found = jetstream.stored(team.bus, LOG, team.subjects.event("run", task))
    return [decode(msg.data).payload.content async for msg in found]


async def test_a_model_calls_its_tools_and_answers(team: Team, weather: Weather) -> None:
    await team.run(me=scripted(calls("Bonn", "Ulm"), "Grey in both."))
    result = await team.ask("analysis", "How is it?", id="t1")
    assert (result["data"], result["turns"], result["toolCalls"]) == ("Grey in both.", 2, 2)
    assert [(call.arguments["city"], call.key) for call in weather.asked] == [
        ("Bonn", "t1.1.0"),
        ("Ulm", "t1.1.1"),
    ]
    recorded = await journal(team, "t1")
    assert sorted((each["event"], each["turn"], each["index"]) for each in recorded) == [
        ("tool_answered", 1, 0),
        ("tool_answered", 1, 1),
        ("tool_called", 1, 0),
        ("tool_called", 1, 1),
        ("turn", 1, 0),
    ]
    exposed = team.metrics.expose()[0].decode()
    assert 'agentd_tool_calls_total{status="success",tool="weather"} 2.0' in exposed


@pytest.mark.parametrize(
    ("turn", "told"),
    [
        (calls("Atlantis"), "Atlantis is under water"),
        (calls("Bug"), "ZeroDivisionError: a bug"),
        (calls("Babel"), "[cut: the whole answer has 96,000 characters]"),
        (calls(3), "do not fit its schema: 3 is not of type 'string'"),
        (calls("Bonn", name="rm"), "there is no tool 'rm'; the tools are: weather"),
        ({"tool_calls": [{"name": "weather", "arguments": "{"}]}, "are not valid JSON"),
        ({"tool_calls": [{"name": "weather", "arguments": "[]"}]}, "is not of type 'object'"),
    ],
)
async def test_what_goes_wrong_with_a_call_is_told_to_the_model(
    team: Team, weather: Weather, turn: dict[str, Any], told: str
) -> None:
    del weather
    await team.run(me=scripted(turn, "I see."))
    assert (await team.ask("analysis", "How is it?", id="t1"))["data"] == "I see."
    [answer] = [each for each in await journal(team, "t1") if each["event"] == "tool_answered"]
    assert told in answer["text"]
    assert answer["error"] == (not told.startswith("[cut"))


async def test_turns_are_bounded(team: Team, weather: Weather) -> None:
    await team.run(me=scripted(*[calls("Bonn")] * 5, more="limits: {turns: 3}"))
    result = await team.ask("analysis", "How is it?")
    assert result["error"]["code"] == "turns"
    assert "limits.turns is 3" in result["error"]["message"]
    assert len(weather.asked) == 2  # what the last turn asks for could tell nobody anything
    [letter] = await team.letters()
    assert (letter.headers or {})["Agentd-Reason"] == "turns"


async def test_the_same_call_again_and_again_is_refused_and_then_ends_the_task(
    team: Team, weather: Weather
) -> None:
    await team.run(me=scripted(*[calls("Bonn")] * 9))
    result = await team.ask("analysis", "How is it?", id="t1")
    assert result["error"]["code"] == "repeated_calls"
    assert len(weather.asked) == 3
    answers = [each for each in await journal(team, "t1") if each["event"] == "tool_answered"]
    assert [each["error"] for each in answers] == [False, False, False, True]
    assert "was already called 3 times with the same arguments" in answers[-1]["text"]
    [letter] = await team.letters()
    assert (letter.headers or {})["Agentd-Reason"] == "repeated_calls"


async def test_a_tool_that_is_polled_may_be_called_more_often(team: Team, weather: Weather) -> None:
    turns = scripted(*[calls("Bonn")] * 8, "At last.", more="limits: {repeated_calls: 20}")
    await team.run(me=turns)
    assert (await team.ask("analysis", "How is it?"))["data"] == "At last."
    assert len(weather.asked) == 8


async def test_words_before_a_tool_are_not_the_answer(team: Team, weather: Weather) -> None:
    del weather
    chunks: list[tuple[int, str]] = []

    async def hear(msg: Any) -> None:
        payload = decode(msg.data).payload
        chunks.append((payload.sequence_number or 0, payload.chunk or ""))

    await team.bus.subscribe(team.subjects.stream("t1"), hear)
    await team.run(me=scripted({"text": "Let me see.", **calls("Bonn")}, "It is grey."))
    result = await team.ask("analysis", "How is it?", id="t1")
    await team.bus.fence()
    last_start = max(at for at, (number, _) in enumerate(chunks) if number == 0)
    assert "".join(text for _, text in chunks[last_start:]) == result["data"] == "It is grey."


SCORED = """
output:
  retries: 1
  schema:
    type: object
    required: [score]
    properties: {score: {type: number}}
"""


async def test_an_answer_that_does_not_fit_is_corrected(team: Team) -> None:
    turns = ["high", '```json\n{"score": 0.5, "confidence": 0.9, "reasoning": "seen"}\n```']
    await team.run(me=scripted(*turns, more=SCORED).replace("tools:", "#"))
    result = await team.ask("analysis", "How is it?")
    assert result["error"] is None
    assert result["data"] == {"score": 0.5, "confidence": 0.9, "reasoning": "seen"}
    assert (result["confidence"], result["reasoning"], result["turns"]) == (0.9, "seen", 2)


async def test_an_answer_that_never_fits_is_an_error(team: Team) -> None:
    turns = ["high", '{"score": "high"}', '{"score": 1}']
    await team.run(me=scripted(*turns, more=SCORED).replace("tools:", "#"))
    error = (await team.ask("analysis", "How is it?"))["error"]
    assert error["code"] == "output_invalid"
    assert "'high' is not of type 'number' (at ['score'])" in error["message"]
