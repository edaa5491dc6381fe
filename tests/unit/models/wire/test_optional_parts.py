"""What a server refuses is left out, and remembered once the request succeeds without it."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.models.port import ChatRequest
from agentd.models.wire.optional_parts import OptionalParts, Part

TOOLS = ({"type": "function", "function": {"name": "f"}},)
THOUGHT = {"role": "assistant", "reasoning_content": "Hm.", "tool_calls": [{"id": "a"}]}
GEMINI = "Function calling with a response mime type: 'application/json' is unsupported"
TOO_LONG = "This model's maximum context length is 8192 tokens"


def request(**fields: Any) -> ChatRequest:
    return ChatRequest(fields.pop("messages", ()), {}, 5, **fields)


MARKED = {"role": "tool", "content": "x", "cache_control": {"type": "ephemeral"}}
FULL = request(messages=(THOUGHT, MARKED), schema={"type": "object"}, tools=TOOLS)


def test_a_request_has_only_the_parts_that_it_needs() -> None:
    assert OptionalParts().of(request(), streamed=False) == set()
    assert OptionalParts().of(FULL, streamed=True) == set(Part)


@pytest.mark.parametrize(
    ("status", "text", "part"),
    [
        (400, "unknown field response_format", Part.SCHEMA),
        (422, "json_schema is not supported by this model", Part.SCHEMA),
        (400, GEMINI, Part.SCHEMA),
        (400, "json mode and tools exclude each other", Part.SCHEMA),
        (500, "failed to parse grammar", Part.SCHEMA),
        (400, "Unrecognized request argument: stream_options", Part.USAGE),
        (422, "messages.1.reasoning_content: Extra inputs are not permitted", Part.OWN),
        (400, "messages.0.cache_control: Extra inputs are not permitted", Part.MARKS),
        (400, TOO_LONG, None),
        (500, "out of memory", None),
        (401, "response_format", None),
        (429, "response_format", None),
        (None, "response_format", None),
    ],
)
def test_the_part_to_leave_out_depends_on_the_refusal(
    status: int | None, text: str, part: Part | None
) -> None:
    parts = OptionalParts()
    sent = parts.of(FULL, streamed=True)
    assert parts.to_leave_out(FULL, sent, status, text) is part


def test_marks_are_left_out_last_if_a_refusal_says_nothing_of_them() -> None:
    marked = request(messages=(MARKED,))
    parts = OptionalParts()
    sent = parts.of(marked, streamed=False)
    assert parts.to_leave_out(marked, sent, 400, "content must be a string") is Part.MARKS
    parts.succeeded(marked, {Part.MARKS})
    assert parts.of(marked, streamed=False) == set()


def test_a_part_is_left_out_once() -> None:
    assert OptionalParts().to_leave_out(FULL, (), 400, "response_format") is None


def test_a_refusal_is_remembered_when_the_request_succeeds_without_the_part() -> None:
    parts = OptionalParts()
    assert Part.SCHEMA in parts.of(FULL, streamed=False)
    parts.succeeded(FULL, {Part.SCHEMA})
    assert Part.SCHEMA not in parts.of(FULL, streamed=False)


def test_a_schema_that_is_refused_beside_tools_is_still_sent_alone() -> None:
    parts = OptionalParts()
    parts.succeeded(FULL, {Part.SCHEMA})
    alone = request(schema={"type": "object"})
    assert parts.of(alone, streamed=False) == {Part.SCHEMA}
