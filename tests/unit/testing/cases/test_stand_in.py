"""Test doubles answer as a case says, and keep tools with effects from being called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from agentd.manifest.tools import ToolEntry
from agentd.models.port import ChatRequest, Completion, ToolCall, Usage
from agentd.protocol.message import AgentIdentity, new
from agentd.testing.cases.case import StandIn
from agentd.testing.cases.stand_in import RecordingModel, Tape, as_turn, replaced
from agentd.tools.port import Call, Tool
from agentd.tools.toolbox import Toolbox, ToolboxEntry


class Real:
    """A tool that counts its calls."""

    takes_key = True
    parameters: Mapping[str, Any] = {
        "type": "object",
        "properties": {"city": {}},
        "required": ["city"],
    }
    description = "The sky above a city."

    def __init__(self, name: str = "look") -> None:
        self.name = name
        self.calls = 0

    async def call(self, call: Call) -> Any:
        del call
        self.calls += 1
        return "really"


@dataclass
class Source:
    tools: Sequence[Tool]
    trouble = ""

    async def prepare(self) -> Mapping[str, str]:
        return {"memory": "a text for the prompt"}


def toolbox(tool: Real, **declared: Any) -> Toolbox:
    entry = ToolEntry.model_construct(**declared)
    return Toolbox([ToolboxEntry(entry, Source([tool]))])


async def answers(toolbox: Toolbox, name: str = "look", times: int = 1) -> list[str]:
    async def money() -> float:
        return 1.0

    source = AgentIdentity(id="me", type="agent")
    task = new("task", "x", source=source)
    request = Call(arguments={}, key="k", timeout=1, task=task, agent="me", money=money)
    call = ToolCall(id="1", name=name, arguments='{"city": "Bonn"}')
    return [(await toolbox.call(call, request)).text for _ in range(times)]


async def test_a_tool_without_effects_is_really_called() -> None:
    tool = Real()

    assert await answers(replaced(toolbox(tool), {})) == ["really"]
    assert tool.calls == 1


@pytest.mark.parametrize("field", ["effects", "approval"])
async def test_a_tool_with_effects_or_approval_is_refused(field: str) -> None:
    tool = Real()
    [answer] = await answers(replaced(toolbox(tool, **{field: True}), {}))

    assert "this test gives no answer for it" in answer
    assert tool.calls == 0


@pytest.mark.parametrize(
    ("double", "expected"),
    [
        (StandIn(returns="grey"), ["grey", "grey", "grey"]),
        (StandIn(in_turn=["grey", "blue"]), ["grey", "blue", "blue"]),
        (StandIn(error="broken"), ["broken", "broken", "broken"]),
    ],
)
async def test_a_double_gives_its_answers_in_turn_and_repeats_the_last(
    double: StandIn, expected: list[str]
) -> None:
    tool = Real()

    assert await answers(replaced(toolbox(tool, effects=True), {"look": double}), times=3) == (
        expected
    )
    assert tool.calls == 0


def test_a_double_has_the_description_and_the_schema_of_the_real_tool() -> None:
    doubled = replaced(toolbox(Real()), {"look": StandIn(returns=1)}).tools["look"]

    assert doubled.schema["function"]["description"] == Real.description
    assert doubled.schema["function"]["parameters"] == Real.parameters


async def test_a_double_may_replace_a_tool_that_is_not_there() -> None:
    box = replaced(toolbox(Real()), {"other": StandIn(returns="yes")})

    assert set(box.tools) == {"look", "other"}
    assert await answers(box, "other") == ["yes"]


async def test_the_prompt_still_gets_the_texts_of_the_real_tools() -> None:
    assert await replaced(toolbox(Real()), {}).prepare() == {"memory": "a text for the prompt"}


class Answering:
    name, is_mock = "real", False

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        del request, on_delta
        return Completion(text="hello", model="real", finish_reason="stop")

    def cost_of(self, usage: Usage) -> float | None:
        return usage.input_tokens / 2

    async def close(self) -> None:
        raise NotImplementedError


async def test_a_recording_model_answers_as_the_real_one_and_keeps_the_answer() -> None:
    tape, request = Tape(), ChatRequest(messages=(), parameters={}, timeout=1)
    model = RecordingModel(Answering(), tape)
    answer = await model.complete(request)
    await model.complete(replace(request, timeout=2))

    assert tape.answers == [answer, answer]
    assert tape.asked is request
    assert RecordingModel(Answering(), tape, name="other").name == "other"
    assert (model.name, model.is_mock, model.cost_of(Usage(4, 0))) == ("real", False, 2)


@pytest.mark.parametrize(
    ("completion", "turn"),
    [
        ({"text": "hello"}, {"text": "hello"}),
        ({"text": ""}, {"text": ""}),
        ({"text": "", "reasoning": "hm"}, {"reasoning": "hm"}),
        (
            {"text": "a", "usage": Usage(1, 2, reasoning_tokens=3)},
            {"text": "a", "usage": {"input": 1, "output": 2, "reasoning": 3}},
        ),
        (
            {"text": "", "tool_calls": (ToolCall(id="1", name="look", arguments="{}"),)},
            {"tool_calls": [{"id": "1", "name": "look", "arguments": "{}"}]},
        ),
    ],
)
def test_a_completion_becomes_a_turn_of_a_mock_script(
    completion: dict[str, Any], turn: dict[str, Any]
) -> None:
    assert as_turn(Completion(model="m", finish_reason="stop", **completion)) == turn
