"""A request of `/v1/responses` as a question."""

from __future__ import annotations

from collections.abc import Mapping

from agentd.doors.openai.content import parts_of
from agentd.doors.openai.errors import BadRequest
from agentd.doors.openai.fields import Object, flag, items, made, obj, text
from agentd.doors.openai.question import (
    PARAMETERS,
    Question,
    conversation,
    parameters,
    schema,
    tool,
    tool_choice,
)
from agentd.protocol.fields import HistoryMessage, SendersTool

_NAMES: Mapping[str, str] = {**PARAMETERS, "max_output_tokens": "max_tokens"}
_ROLES = ("assistant", "developer", "system", "user")


def question(body: Object) -> Question:
    """The question. What OpenAI knows and agents do not is ignored, unless it changes the answer.

    Raises:
        BadRequest: the request cannot be served as it is.
    """
    form = obj(obj(body.get("text"), "text").get("format"), "text.format")
    listed = items(body.get("tools"), "tools")
    given = tuple(_tool(obj(each, f"tools[{i}]"), f"tools[{i}]") for i, each in enumerate(listed))
    tools, how = tool_choice(body.get("tool_choice"), given, body)
    effort = obj(body.get("reasoning"), "reasoning").get("effort")
    return Question(
        model=text(body.get("model"), "model"),
        turns=_turns(body),
        tools=tools,
        parameters={**parameters({**body, "reasoning_effort": effort}, _NAMES), **how},
        schema=schema(form, form, "text.format"),
        stream=flag(body, "stream"),
        body=body,
    )


def conversation_of(body: Object) -> str | None:
    """The conversation that the request names; None if it names none.

    Raises:
        BadRequest: it cannot be one.
    """
    named = body.get("conversation")
    return conversation(named.get("id") if isinstance(named, dict) else named, "conversation")


def _tool(given: Object, param: str) -> SendersTool:
    if given.get("type") != "function":
        problem = "must be `function`: agents have their other tools themselves"
        raise BadRequest(f"{param}.type", problem)
    return tool(given, param)


def _turns(body: Object) -> list[HistoryMessage]:
    turns: list[HistoryMessage] = []
    if body.get("instructions") is not None:
        instructions = text(body["instructions"], "instructions")
        turns.append(HistoryMessage(role="developer", content=instructions))
    given = body.get("input")
    if isinstance(given, str):
        return [*turns, HistoryMessage(role="user", content=given)]
    for index, each in enumerate(items(given, "input")):
        param = f"input[{index}]"
        if turn := _turn(obj(each, param), param):
            turns.append(turn)
    return _merged(turns)


def _turn(item: Object, param: str) -> HistoryMessage | None:
    match item.get("type", "message"):
        case "message":
            role = item.get("role")
            if role not in _ROLES:
                raise BadRequest(f"{param}.role", f"must be one of {', '.join(_ROLES)}")
            content = parts_of(item.get("content"), f"{param}.content")
            return made(HistoryMessage, {"role": role, "content": content}, param)
        case "function_call":
            call = {
                "id": item.get("call_id"),
                "name": item.get("name"),
                "arguments": item.get("arguments") or "{}",
            }
            return made(HistoryMessage, {"role": "assistant", "calls": [call]}, param)
        case "function_call_output":
            output = parts_of(item.get("output"), f"{param}.output")
            turn = {"role": "tool", "callId": item.get("call_id"), "content": output}
            return made(HistoryMessage, turn, param)
        case "reasoning":
            return None  # the words of a model to itself: no other model takes them
        case kind:
            raise BadRequest(
                f"{param}.type",
                f"is {str(kind)[:100]!r}: agents take messages, function calls and their outputs",
            )


def _merged(turns: list[HistoryMessage]) -> list[HistoryMessage]:
    """The turns with neighbouring calls, and the text before them, as one turn: a model has made
    them together."""
    merged: list[HistoryMessage] = []
    for turn in turns:
        last = merged[-1] if merged else None
        if last and turn.calls and last.role == "assistant":
            merged[-1] = last.model_copy(update={"calls": (*last.calls, *turn.calls)})
        else:
            merged.append(turn)
    return merged
