"""The messages of a chat as every server takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentd.models.port import Completion, ToolCall
from agentd.models.wire import own_fields
from agentd.models.wire.partial_calls import arguments_in
from agentd.models.wire.tool_names import fitting

MADE_BY = "made_by"  # the model of an assistant turn; it is not sent
_EMPTY = "(no output)"  # Kimi, Gemini and Bedrock refuse an empty text


def assistant_turn(completion: Completion) -> dict[str, Any]:
    """The turn of a model that called tools, as it goes back with their answers."""
    calls = [_as_chat(call) for call in completion.tool_calls]
    turn = {"role": "assistant", "content": completion.text or None, "tool_calls": calls}
    return {**turn, **completion.own, MADE_BY: completion.model}


def tool_turn(call: ToolCall, text: str) -> dict[str, Any]:
    """The answer of a tool."""
    return {"role": "tool", "tool_call_id": call.id, "content": text or _EMPTY}


def call_id(turn: int, index: int) -> str:
    """An id for a call that has none of its own: Mistral takes nine letters and digits only."""
    return f"call{turn:03}{index:02}"


def sendable(
    messages: Sequence[Mapping[str, Any]], model: str, *, own: bool = True
) -> list[Mapping[str, Any]]:
    """The messages as `model` is sent them: with its own fields (without `own`, without them).

    Turns of one role that follow each other become one, because the chat templates of Mistral,
    Gemma and others accept only turns that alternate.
    """
    sent: list[Mapping[str, Any]] = []
    ids: dict[str, str] = {}
    for message in messages:
        turn = _turn(message, model, ids, own=own)
        if sent and _is_continued(sent[-1], turn):
            sent[-1] = {**turn, "content": joined(sent[-1]["content"], turn["content"])}
        else:
            sent.append(turn)
    return sent


def joined(first: Any, second: Any) -> Any:
    """Two contents as one; a content is a text, or a list of parts."""
    if not first or not second:
        return first or second
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*_parts(first), *_parts(second)]


def _parts(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _turn(
    message: Mapping[str, Any], model: str, ids: dict[str, str], *, own: bool
) -> Mapping[str, Any]:
    if message.get("role") == "tool":
        known = ids.get(message["tool_call_id"])
        return {**message, "tool_call_id": known} if known else message
    if MADE_BY not in message:
        return message
    turn = {name: value for name, value in message.items() if name != MADE_BY}
    is_its_own = message[MADE_BY] == model
    if not is_its_own:
        # Another model refuses ids that are not in its format, too.
        ids |= {call["id"]: call_id(0, len(ids) + n) for n, call in enumerate(turn["tool_calls"])}
    if not (own and is_its_own):
        turn = {name: turn[name] for name in ("role", "content", "tool_calls")}
    calls = [_call(call, ids, own=own and is_its_own) for call in turn["tool_calls"]]
    return {**turn, "tool_calls": calls}


def _call(call: Mapping[str, Any], ids: Mapping[str, str], *, own: bool) -> Mapping[str, Any]:
    """A call with a name and arguments that every server takes: strict ones refuse a whole chat for
    what a model once wrote. The answer of the tool says what was wrong."""
    name, text = fitting(call["function"]["name"]), call["function"]["arguments"]
    function = {"name": name, "arguments": text if arguments_in(text) is not None else "{}"}
    fields = {key: value for key, value in call.items() if key not in own_fields.CALL}
    if own:
        function = {**call["function"], **function}
    else:
        fields = {}
    sent_id = ids.get(call["id"], call["id"])
    return {**fields, "id": sent_id, "type": "function", "function": function}


def _is_continued(last: Mapping[str, Any], turn: Mapping[str, Any]) -> bool:
    """Whether two turns may become one. Answers of tools stay apart."""
    same = last.get("role") == turn.get("role")
    return same and last.get("role") in ("user", "assistant") and not last.get("tool_calls")


def _as_chat(call: ToolCall) -> dict[str, Any]:
    """A tool call in OpenAI's chat shape, with the own fields of its model."""
    others = {name: value for name, value in call.own.items() if name != "function"}
    function = {**call.own.get("function", {}), "name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function, **others}
