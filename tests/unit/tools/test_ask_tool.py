"""A person as a tool: what the model is shown of it, and that it is never really called."""

from __future__ import annotations

from typing import Any, cast

import pytest

from agentd.manifest.json_schema.check import schema_error, value_error
from agentd.manifest.tools import ToolEntry
from agentd.models.port import ToolCall
from agentd.tools.ask_tool import AskTool, AskTools
from agentd.tools.port import Call
from agentd.tools.toolbox import Toolbox, ToolboxEntry
from tests.integration.workshop import TASK


def tool(**fields: Any) -> AskTool:
    entry = ToolEntry(ask="person", **fields)
    source = AskTools().open(entry, cast("Any", None))
    [found] = source.tools
    assert isinstance(found, AskTool)
    return found


def test_a_model_asks_a_question_and_may_offer_choices() -> None:
    asked = tool()
    assert asked.name == "ask_person"
    assert schema_error(asked.parameters) == ""
    assert set(asked.parameters["properties"]) == {"question", "choices"}


def test_the_choices_of_the_manifest_take_the_place_of_those_of_the_model() -> None:
    asked = tool(choices=["refund", "replace"])
    assert set(asked.parameters["properties"]) == {"question"}
    assert asked.description.endswith("The answer is one of: refund, replace.")


@pytest.mark.parametrize(
    ("arguments", "fits"),
    [
        ({"question": "Which?"}, True),
        ({"question": "Which?", "choices": ["a", "b"]}, True),
        ({}, False),
        ({"question": ""}, False),
        ({"question": "x" * 4_001}, False),
        ({"question": "Which?", "choices": ["a"]}, False),
        ({"question": "Which?", "choices": ["a"] * 21}, False),
        ({"question": "Which?", "to": "ann"}, False),
    ],
)
async def test_a_question_is_checked_as_the_arguments_of_any_tool(
    arguments: dict[str, Any], fits: bool
) -> None:
    assert (await value_error(arguments, tool().parameters) == "") is fits


async def test_a_call_that_no_run_could_suspend_is_an_error() -> None:
    box = Toolbox([ToolboxEntry(tool().entry, tool())])

    async def money() -> float:
        return 1.0

    request = Call(arguments={}, key="k", timeout=5, task=TASK, agent="me", money=money)
    answer = await box.call(ToolCall("1", "ask_person", '{"question": "Which?"}'), request)
    assert answer.error
    assert "a person can only be asked in a task" in answer.text
