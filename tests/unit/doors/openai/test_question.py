"""A question as a task: what is asked, what came before, what followed."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.doors.openai.errors import BadRequest
from agentd.doors.openai.question import (
    PARAMETERS,
    Question,
    conversation,
    parameters,
    schema,
    tool,
    tool_choice,
)
from agentd.protocol.fields import HistoryMessage
from agentd.protocol.message import AgentMessage, decode, encode

CALLS = {"role": "assistant", "calls": [{"id": "a", "name": "now", "arguments": "{}"}]}
ANSWER = {"role": "tool", "callId": "a", "content": "12:00"}


def turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def question(*turns: dict[str, Any], **fields: Any) -> Question:
    given = [HistoryMessage.model_validate(each) for each in turns]
    return Question(model="m", turns=given, **fields)


def task(asked: Question, **fields: Any) -> AgentMessage:
    given: dict[str, Any] = {"conversation": None, "memory": False, **fields}
    message = asked.task(id="t1", sender="key", as_content=lambda content: content, **given)
    return decode(encode(message))  # as an agent gets it


def said(message: AgentMessage) -> list[tuple[str, Any]]:
    return [(each.role, each.content) for each in message.context.history]


def test_the_last_turn_of_the_user_is_what_is_asked() -> None:
    turns = [turn("system", "Be brief."), turn("user", "a"), turn("assistant", "A")]
    message = task(question(*turns, turn("user", "b")))
    assert message.payload.content == "b"
    # Only a manifest writes prompts.
    assert said(message) == [("user", "Be brief."), ("user", "a"), ("assistant", "A")]
    assert message.context.memory is False
    assert (message.id, message.source.id, message.context.conversation_id) == ("t1", "key", "t1")


def test_what_followed_goes_on_behind_it() -> None:
    message = task(question(turn("user", "When?"), CALLS, turn("system", "Hurry."), ANSWER))
    assert message.payload.content == "When?"
    assert said(message) == [("user", "Hurry.")]
    assert [each.role for each in message.payload.continuation] == ["assistant", "tool"]
    assert message.brings_tools


def test_instructions_alone_are_what_is_asked() -> None:
    assert task(question(turn("system", "Say hello."))).payload.content == "Say hello."


@pytest.mark.parametrize("turns", [[], [turn("assistant", "hi")]])
def test_somebody_must_ask_something(turns: list[dict[str, Any]]) -> None:
    with pytest.raises(BadRequest, match="must have a turn of the user"):
        task(question(*turns))


def test_a_task_has_a_limit_of_turns_and_tools() -> None:
    with pytest.raises(BadRequest, match=r"^the request\.history "):
        task(question(*[turn("user", "a")] * 10_002))
    tools = tuple(tool({"name": f"t{n}"}, "x") for n in range(129))
    with pytest.raises(BadRequest, match=r"^the request\.tools "):
        task(question(turn("user", "a"), tools=tools))


def test_images_become_parts_of_the_task() -> None:
    image = {"type": "image", "data": "AAAA"}
    message = task(question(turn("user", [{"type": "text", "text": "What?"}, image])))
    assert message.payload.content == {
        "instruction": "What?",
        "parts": [image],
    }


def test_a_conversation_and_the_user_are_passed_on() -> None:
    body = {"metadata": {"a": "b"}, "user": "maria"}
    message = task(question(turn("user", "a"), body=body), conversation="chat-1", memory=True)
    assert message.context.conversation_id == "chat-1"
    assert message.context.memory is True
    assert message.context.metadata == {"a": "b", "user": "maria"}


def test_a_client_keeps_the_history_if_it_sends_earlier_answers() -> None:
    assert question(turn("user", "a"), turn("assistant", "A"), turn("user", "b")).keeps_history
    assert not question(turn("system", "x"), turn("user", "a")).keeps_history
    assert not question(turn("user", "a"), CALLS, ANSWER).keeps_history


def test_parameters_are_those_that_a_sender_may_set() -> None:
    body = {"temperature": 0, "max_tokens": 5, "stop": ["x"], "logit_bias": {}, "seed": None}
    assert parameters(body, PARAMETERS) == {"temperature": 0, "max_tokens": 5, "stop": ["x"]}


@pytest.mark.parametrize(("name", "value"), [("temperature", "hot"), ("max_tokens", True)])
def test_a_parameter_of_another_type_is_refused(name: str, value: Any) -> None:
    with pytest.raises(BadRequest, match=f"^{name} "):
        parameters({name: value}, PARAMETERS)


def test_how_tools_are_called() -> None:
    tools = (tool({"name": "now", "description": None}, "tools[0]"),)
    named = {"type": "function", "function": {"name": "now"}}
    assert tool_choice(None, tools, {"parallel_tool_calls": False}) == (
        tools,
        {"parallel_tool_calls": False},
    )
    assert tool_choice("none", tools, {}) == ((), {})
    assert tool_choice("required", tools, {}) == (tools, {"tool_choice": "required"})
    for choice in (named, {"type": "function", "name": "now"}):
        assert tool_choice(choice, tools, {}) == (tools, {"tool_choice": named})
    assert tool_choice("required", (), {}) == ((), {})


@pytest.mark.parametrize("choice", ["any", {"type": "function", "name": "other"}, 5])
def test_a_choice_that_no_agent_knows_is_refused(choice: Any) -> None:
    with pytest.raises(BadRequest, match=r"^tool_choice must be"):
        tool_choice(choice, (tool({"name": "now"}, "tools[0]"),), {})


def test_the_form_of_the_answer() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array"}}}
    assert schema(form, form["json_schema"], "here") == {"type": "array"}
    assert schema({"type": "json_object"}, None, "here") == {"type": "object"}
    assert schema({}, None, "here") is schema({"type": "text"}, None, "here") is None
    with pytest.raises(BadRequest, match=r"^here\.type cannot be 'grammar'"):
        schema({"type": "grammar"}, None, "here")


def test_a_conversation_has_a_name_of_one_line() -> None:
    assert conversation(None, "x") is None
    assert conversation("chat 12", "x") == "chat 12"
    for name in ("", "a\nb", "x" * 257, 5):
        with pytest.raises(BadRequest):
            conversation(name, "x")
