"""Requests of `/v1/responses`."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.doors.openai.errors import BadRequest
from agentd.doors.openai.responses_request import conversation_of, question

CALL = {"type": "function_call", "call_id": "a", "name": "now", "arguments": "{}", "id": "fc_1"}
OUTPUT = {"type": "function_call_output", "call_id": "a", "output": "12:00"}


def asked(given: Any, **fields: Any) -> Any:
    return question({"model": "writer", "input": given, **fields})


def said(found: Any) -> list[tuple[str, Any]]:
    return [(each.role, each.content) for each in found.turns]


def test_the_input_may_be_a_text() -> None:
    assert said(asked("hi", instructions="Be brief.")) == [
        *[("developer", "Be brief."), ("user", "hi")]
    ]


def test_the_input_may_be_a_list() -> None:
    items = [
        {"role": "user", "content": "a"},
        {"type": "reasoning", "summary": []},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "A", "annotations": []}],
        },
        {"role": "user", "content": [{"type": "input_text", "text": "b"}]},
    ]
    assert said(asked(items)) == [("user", "a"), ("assistant", "A"), ("user", "b")]


def test_calls_that_were_made_together_are_one_turn() -> None:
    text = {"role": "assistant", "content": "Hm."}
    again, output = {**CALL, "call_id": "b"}, {**OUTPUT, "call_id": "b"}
    items = [{"role": "user", "content": "When?"}, text, CALL, again, OUTPUT, output]
    _, called, first, second = asked(items).turns
    assert (called.content, [call.id for call in called.calls]) == ("Hm.", ["a", "b"])
    assert (first.call_id, second.call_id) == ("a", "b")


def test_parameters_have_their_own_names() -> None:
    fields = {"max_output_tokens": 5, "reasoning": {"effort": "low"}, "temperature": 1}
    assert asked("hi", **fields).parameters == {
        "max_tokens": 5,
        "reasoning_effort": "low",
        "temperature": 1,
    }


def test_tools_and_the_form_of_the_answer() -> None:
    tools = [{"type": "function", "name": "now", "parameters": {"type": "object"}, "strict": True}]
    form = {"format": {"type": "json_schema", "name": "x", "schema": {"type": "array"}}}
    found = asked("hi", tools=tools, text=form, tool_choice={"type": "function", "name": "now"})
    assert found.tools[0].name == "now"
    assert found.parameters["tool_choice"]["function"] == {"name": "now"}
    assert found.schema == {"type": "array"}


def test_a_conversation_is_named_by_its_id() -> None:
    assert conversation_of({"conversation": "c1"}) == "c1"
    assert conversation_of({"conversation": {"id": "c1"}}) == "c1"
    assert conversation_of({}) is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 5}, "model"),
        ({"input": 5}, "input"),
        ({"input": [{"role": "tool", "content": "x"}]}, r"input\[0\]\.role"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, r"input\[0\]\.type"),
        ({"input": [{**CALL, "name": None}]}, r"input\[0\]\.calls\.0\.name"),
        ({"tools": [{"type": "web_search_preview"}]}, r"tools\[0\]\.type"),
        ({"instructions": ["x"]}, "instructions"),
        ({"text": {"format": {"type": "x"}}}, r"text\.format\.type"),
    ],
)
def test_a_wrong_request_names_its_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest, match=f"^{param}"):
        question({"model": "writer", "input": "hi", **fields})
