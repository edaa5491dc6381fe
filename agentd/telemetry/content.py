"""Messages as attributes, where content is asked for: bounded, and without the bytes of images.

GenAI wants one JSON value for all messages, OpenInference an attribute for each field of each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from agentd.models.port import Completion
from agentd.telemetry import names

_LONGEST_TEXT = 20_000  # characters of one text
_MOST_MESSAGES = 50  # of a chat: the first one and the newest ones
# The SDK keeps 128 attributes of a span, and drops the oldest of more.
_MOST_FIELDS = 60

Attributes = dict[str, Any]


def encodable(value: Any) -> Any:
    """A value of an attribute in characters that UTF-8 has: half a surrogate pair, which the
    arguments of a tool call may hold, would cost all spans that are exported with this one."""
    if isinstance(value, str) and not value.isascii():
        return value.encode(errors="replace").decode()
    return value


def text_of(value: Any) -> str:
    """Any content as text that is not too long."""
    return _cut(value if isinstance(value, str) else _json(value))


def input_of(messages: Sequence[Mapping[str, Any]]) -> Attributes:
    """What a model is sent: messages in OpenAI's chat format."""
    kept = messages if len(messages) <= _MOST_MESSAGES else _ends(messages)
    text = _json([{"role": str(each.get("role")), "parts": list(_parts(each))} for each in kept])
    return {
        names.INPUT_MESSAGES: text,
        names.INPUT: text,
        names.INPUT_TYPE: "application/json",
        **_fields(names.OI_INPUT_MESSAGES, kept),
    }


def output_of(completion: Completion) -> Attributes:
    """What a model answered."""
    calls = [
        {"id": call.id, "function": {"name": call.name, "arguments": call.arguments}}
        for call in completion.tool_calls
    ]
    message = {"role": "assistant", "content": completion.text, "tool_calls": calls}
    parts = list(_parts(message))
    if completion.reasoning:
        parts.insert(0, {"type": "reasoning", "content": _cut(completion.reasoning)})
    return {
        names.OUTPUT_MESSAGES: _output(parts, completion.finish_reason),
        **_plain_output(completion.text or _json(calls)),
        **_fields(names.OI_OUTPUT_MESSAGES, [message]),
    }


def asked(content: Any) -> Attributes:
    """What an agent is asked, as a chat of one message."""
    text = text_of(content)
    part = {"type": "text", "content": text}
    return {
        names.INPUT_MESSAGES: _json([{"role": "user", "parts": [part]}]),
        names.INPUT: text,
        names.INPUT_TYPE: _kind(content),
    }


def answered(data: Any, finish_reason: str) -> Attributes:
    """What an agent answers."""
    part = {"type": "text", "content": text_of(data)}
    return {names.OUTPUT_MESSAGES: _output([part], finish_reason), **_plain_output(data)}


def arguments_of(arguments: str) -> Attributes:
    """What a tool is called with, as the model wrote it."""
    text = _cut(arguments)
    return {
        names.TOOL_ARGUMENTS: text,
        names.OI_TOOL_ARGUMENTS: text,
        names.INPUT: text,
        names.INPUT_TYPE: "application/json",
    }


def result_of(text: str) -> Attributes:
    """What a tool answered."""
    return {names.TOOL_RESULT: _cut(text), **_plain_output(text)}


def _plain_output(data: Any) -> Attributes:
    return {names.OUTPUT: text_of(data), names.OUTPUT_MIME: _kind(data)}


def _kind(data: Any) -> str:
    return "text/plain" if isinstance(data, str) else "application/json"


def _output(parts: Sequence[Mapping[str, Any]], finish_reason: str) -> str:
    message = {"role": "assistant", "parts": parts, "finish_reason": finish_reason or "stop"}
    return _json([message])


def _ends(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [messages[0], *messages[1 - _MOST_MESSAGES :]]


def _parts(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The parts of a message, in the shapes of GenAI."""
    content = message.get("content")
    if message.get("role") == "tool":
        call_id = message.get("tool_call_id")
        yield {"type": "tool_call_response", "id": call_id, "response": text_of(content)}
        return
    for part in content if isinstance(content, list) else [content] if content else ():
        yield _part(part)
    for call in message.get("tool_calls") or ():
        function = call["function"]
        arguments = _parsed(_cut(function["arguments"]))
        yield {
            "type": "tool_call",
            "id": call.get("id"),
            "name": function["name"],
            "arguments": arguments,
        }


def _part(part: Any) -> Mapping[str, Any]:
    match part:
        case str(text) | {"type": "text", "text": str(text)}:
            return {"type": "text", "content": _cut(text)}
        case {"type": str(kind)}:
            return {"type": kind}  # an image or a file: its bytes stay where they are
        case _:
            return {"type": "unknown"}


def _fields(prefix: str, messages: Sequence[Mapping[str, Any]]) -> Attributes:
    """Messages in the flat form of OpenInference, the first ones if they have too many fields."""
    fields = (
        (f"{prefix}.{number}.message.{field}", value)
        for number, message in enumerate(messages)
        for field, value in _flat(message)
    )
    return dict(islice(fields, _MOST_FIELDS))


def _flat(message: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "role", str(message.get("role"))
    if content := message.get("content"):
        texts = [part["content"] for part in _parts({"content": content}) if "content" in part]
        yield "content", _cut("\n".join(texts))
    if call_id := message.get("tool_call_id"):
        yield "tool_call_id", str(call_id)
    for number, call in enumerate(message.get("tool_calls") or ()):
        for field in ("name", "arguments"):
            text = _cut(call["function"][field])
            yield f"tool_calls.{number}.tool_call.function.{field}", text


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _cut(text: str) -> str:
    if len(text) <= _LONGEST_TEXT:
        return text
    return f"{text[:_LONGEST_TEXT]}… ({len(text):,} characters)"
