"""The rules of the conventions for spans of GenAI and of messaging, written anew.

After `genai_span_validation.rego` of open-telemetry/semantic-conventions-conformance: the name of a
span is its operation, with the one attribute that its operation names; an operation has its kind,
and attributes that it must have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_NAMED_AFTER = {
    "chat": "gen_ai.request.model",
    "execute_tool": "gen_ai.tool.name",
    "invoke_agent": "gen_ai.agent.name",
}
_KINDS = {"chat": "client", "execute_tool": "internal", "invoke_agent": "internal"}
_AT_START = {
    "chat": {
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "openinference.span.kind",
        "llm.model_name",
    },
    "execute_tool": {
        "gen_ai.operation.name",
        "gen_ai.tool.name",
        "gen_ai.tool.type",
        "gen_ai.tool.call.id",
        "openinference.span.kind",
        "tool.name",
    },
    "invoke_agent": {
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.agent.name",
        "gen_ai.agent.id",
        "gen_ai.agent.version",
        "gen_ai.conversation.id",
        "openinference.span.kind",
        "agent.name",
        "session.id",
    },
}
_AT_END = {
    "chat": {
        "gen_ai.response.model",
        "gen_ai.response.finish_reasons",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "llm.token_count.total",
    },
    "invoke_agent": {"gen_ai.response.finish_reasons"},
    "execute_tool": set[str](),
}
_MESSAGING = {
    "messaging.system",
    "messaging.operation.name",
    "messaging.operation.type",
    "messaging.destination.name",
    "messaging.destination.template",
}
_MESSAGING_KINDS = {"create": "producer", "send": "producer", "process": "consumer"}
_CONTENT = {
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "input.value",
    "output.value",
    "tool.parameters",
}


def broken(
    name: str, kind: str, attributes: Mapping[str, Any], *, ended: bool = True, failed: bool = False
) -> list[str]:
    """What is wrong with a span, in words."""
    if "messaging.system" in attributes:
        return _broken_message(name, kind, attributes)
    operation = attributes.get("gen_ai.operation.name")
    if operation is None:
        return []
    if operation not in _KINDS:
        return [f"{operation} is no operation"]
    wanted = f"{operation} {attributes.get(_NAMED_AFTER[operation])}"
    needed = _AT_START[operation] | (_AT_END[operation] if ended and not failed else set())
    return [
        *([] if name == wanted else [f"{name!r} should be {wanted!r}"]),
        *([] if kind == _KINDS[operation] else [f"{name}: the kind is {kind}"]),
        *(f"{name}: {each} is missing" for each in sorted(needed - set(attributes))),
        *([] if failed == ("error.type" in attributes) else [f"{name}: error.type"]),
        *_broken_messages(name, attributes),
    ]


def content_in(attributes: Mapping[str, Any]) -> set[str]:
    """The attributes that have contents of messages."""
    flat = ("llm.input_messages.", "llm.output_messages.")
    return {each for each in attributes if each in _CONTENT or each.startswith(flat)}


def _broken_message(name: str, kind: str, attributes: Mapping[str, Any]) -> list[str]:
    operation = attributes.get("messaging.operation.type", "")
    wanted = f"{operation} {attributes.get('messaging.destination.template')}"
    return [
        *([] if name == wanted else [f"{name!r} should be {wanted!r}"]),
        *([] if kind == _MESSAGING_KINDS.get(operation) else [f"{name}: the kind is {kind}"]),
        *(f"{name}: {each} is missing" for each in sorted(_MESSAGING - set(attributes))),
        *([] if attributes.get("messaging.system") == "nats" else [f"{name}: the system"]),
    ]


def _broken_messages(name: str, attributes: Mapping[str, Any]) -> list[str]:
    """The schema of messages: each has a role and parts, and each part a type."""
    found: list[str] = []
    for attribute in ("gen_ai.input.messages", "gen_ai.output.messages"):
        for message in json.loads(attributes.get(attribute, "[]")):
            if not isinstance(message.get("role"), str) or "parts" not in message:
                found.append(f"{name}: {attribute}: {message}")
            found += [f"{name}: {part}" for part in message["parts"] if not _is_part(part)]
            if attribute.endswith("output.messages") and not message.get("finish_reason"):
                found.append(f"{name}: {attribute} without finish_reason")
    return found


def _is_part(part: Mapping[str, Any]) -> bool:
    needed = {
        "text": {"content"},
        "reasoning": {"content"},
        "tool_call": {"name", "arguments"},
        "tool_call_response": {"response"},
    }
    return isinstance(part.get("type"), str) and needed.get(part["type"], set()) <= set(part)
