"""A request of `/v1/chat/completions` as a question."""

from __future__ import annotations

from typing import Any

from agentd.doors.openai.content import parts_of
from agentd.doors.openai.errors import BadRequest
from agentd.doors.openai.fields import Object, flag, items, made, obj, text
from agentd.doors.openai.question import (
    PARAMETERS,
    Question,
    parameters,
    schema,
    tool,
    tool_choice,
)
from agentd.protocol.fields import HistoryMessage, SendersTool

_ROLES = ("assistant", "developer", "system", "tool", "user")


def question(body: Object) -> Question:
    """The question. What OpenAI knows and agents do not is ignored, unless it changes the answer.

    Raises:
        BadRequest: the request cannot be served as it is.
    """
    if body.get("n") not in (None, 1):
        raise BadRequest("n", "must be 1: an agent gives one answer")
    for name in ("functions", "function_call"):
        if body.get(name):
            raise BadRequest(name, "is no longer used: write `tools`")
    form = obj(body.get("response_format"), "response_format")
    given = tuple(_tool(each, f"tools[{i}]") for i, each in enumerate(_tools(body)))
    tools, how = tool_choice(body.get("tool_choice"), given, body)
    messages = items(body.get("messages"), "messages")
    return Question(
        model=text(body.get("model"), "model"),
        turns=[
            _turn(obj(each, f"messages[{i}]"), f"messages[{i}]") for i, each in enumerate(messages)
        ],
        tools=tools,
        parameters={**parameters(body, PARAMETERS), **how},
        schema=schema(form, form.get("json_schema"), "response_format.json_schema"),
        stream=flag(body, "stream"),
        body=body,
    )


def wants_usage(body: Object) -> bool:
    """Whether a stream is to end with the usage.

    Raises:
        BadRequest: `stream_options` is no object.
    """
    return flag(obj(body.get("stream_options"), "stream_options"), "include_usage")


def _tools(body: Object) -> Any:
    return items(body.get("tools"), "tools")


def _tool(each: Any, param: str) -> SendersTool:
    given = obj(each, param)
    if given.get("type") != "function":
        problem = "must be `function`: agents have their other tools themselves"
        raise BadRequest(f"{param}.type", problem)
    return tool(obj(given.get("function"), f"{param}.function"), f"{param}.function")


def _turn(message: Object, param: str) -> HistoryMessage:
    role = message.get("role")
    if role not in _ROLES:
        raise BadRequest(f"{param}.role", f"must be one of {', '.join(_ROLES)}")
    turn: dict[str, Any] = {
        "role": role,
        "content": parts_of(message.get("content"), f"{param}.content"),
    }
    if role == "assistant" and message.get("tool_calls"):
        calls = items(message["tool_calls"], f"{param}.tool_calls")
        turn["calls"] = [_call(each, f"{param}.tool_calls[{i}]") for i, each in enumerate(calls)]
    if role == "tool":
        turn["callId"] = text(message.get("tool_call_id"), f"{param}.tool_call_id")
    return made(HistoryMessage, turn, param)


def _call(each: Any, param: str) -> dict[str, Any]:
    call = obj(each, param)
    function = obj(call.get("function"), f"{param}.function")
    return {
        "id": call.get("id"),
        "name": function.get("name"),
        "arguments": function.get("arguments") or "{}",
    }
