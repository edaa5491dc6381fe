"""Requests of `/v1/chat/completions`."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.doors.openai.chat_request import question, wants_usage
from agentd.doors.openai.errors import BadRequest

USER = {"role": "user", "content": "hi"}
NOW = {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "writer", "messages": [USER], **fields}


def test_the_smallest_request() -> None:
    asked = question(body())
    assert (asked.model, asked.stream, asked.schema, asked.tools) == ("writer", False, None, ())
    assert [(each.role, each.content) for each in asked.turns] == [("user", "hi")]


def test_what_agents_do_not_know_is_ignored() -> None:
    more = {"logit_bias": {}, "store": True, "service_tier": "auto", "tools": [], "n": 1, "new": 1}
    assert question(body(**more)).parameters == {}


def test_calls_and_answers_of_tools() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "now", "arguments": ""}}
    assistant = {"role": "assistant", "content": None, "tool_calls": [call]}
    answer = {"role": "tool", "tool_call_id": "a", "content": "12:00"}
    asked = question(body(messages=[USER, assistant, answer], tools=[NOW], tool_choice="required"))
    _, called, answered = asked.turns
    assert called.calls[0].model_dump() == {"id": "a", "name": "now", "arguments": "{}"}
    assert (answered.call_id, answered.content) == ("a", "12:00")
    assert asked.parameters == {"tool_choice": "required"}
    assert [each.name for each in asked.tools] == ["now"]


def test_the_form_of_the_answer() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array"}}}
    assert question(body(response_format=form)).schema == {"type": "array"}


def test_a_client_may_want_the_usage_of_a_stream() -> None:
    assert wants_usage(body(stream_options={"include_usage": True}))
    assert not wants_usage(body())


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, r"messages\[0\]"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, r"messages\[0\]\.role"),
        ({"messages": [USER, {"role": "tool", "content": "x"}]}, r"messages\[1\]\.tool_call_id"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]},
            r"messages\[0\]\.calls\.0\.name",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "x"}]}]}, r"messages\[0\]\.content"),
        ({"n": 2}, "n"),
        ({"functions": [{"name": "x"}]}, "functions"),
        ({"tools": [{"type": "web_search"}]}, r"tools\[0\]\.type"),
        ({"tools": [{"type": "function", "function": {}}]}, r"tools\[0\]\.function\.name"),
        ({"temperature": "warm"}, "temperature"),
        ({"stream": "yes"}, "stream"),
        ({"response_format": "json"}, "response_format"),
    ],
)
def test_a_wrong_request_names_its_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest, match=f"^{param}"):
        question(body(**fields))
