"""Messages as attributes: in the schema of the conventions, bounded, without bytes of images."""

from __future__ import annotations

import json
from typing import Any

from agentd.models.port import Completion, ToolCall
from agentd.telemetry import content

CALL = ToolCall("c1", "look", '{"city": "Bonn"}')
CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": "You tell the weather."},
    {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "function": {"name": "look", "arguments": CALL.arguments}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "rain"},
]


def test_a_chat_is_in_the_schema_of_genai() -> None:
    said = content.input_of(CHAT)
    assert json.loads(said["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "You tell the weather."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Weather?"}]},
        {
            "role": "assistant",
            "parts": [
                {"type": "tool_call", "id": "c1", "name": "look", "arguments": {"city": "Bonn"}}
            ],
        },
        {
            "role": "tool",
            "parts": [{"type": "tool_call_response", "id": "c1", "response": "rain"}],
        },
    ]


def test_a_chat_is_flat_for_openinference() -> None:
    said = content.input_of(CHAT)
    prefix = "llm.input_messages"
    assert said[f"{prefix}.0.message.role"] == "system"
    assert said[f"{prefix}.1.message.content"] == "Weather?"
    called = f"{prefix}.2.message.tool_calls.0.tool_call.function"
    assert (said[f"{called}.name"], said[f"{called}.arguments"]) == ("look", CALL.arguments)
    assert said[f"{prefix}.3.message.tool_call_id"] == "c1"


def test_an_answer_has_its_reasoning_its_calls_and_why_it_ended() -> None:
    completion = Completion("It rains.", "m", "stop", (CALL,), reasoning="Look first.")
    said = content.output_of(completion)
    [message] = json.loads(said["gen_ai.output.messages"])
    assert message["finish_reason"] == "stop"
    assert [part["type"] for part in message["parts"]] == ["reasoning", "text", "tool_call"]
    assert said["output.value"] == "It rains."
    assert said["llm.output_messages.0.message.content"] == "It rains."


def test_a_value_is_shown_as_json() -> None:
    said = content.asked({"title": "Fix it"})
    assert (said["input.value"], said["input.mime_type"]) == (
        '{"title": "Fix it"}',
        "application/json",
    )
    assert content.answered("yes", "stop")["output.mime_type"] == "text/plain"


def test_the_bytes_of_an_image_stay_where_they_are() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    said = content.input_of([{"role": "user", "content": [image]}])
    assert "AAAA" not in str(said)
    [message] = json.loads(said["gen_ai.input.messages"])
    assert message["parts"] == [{"type": "image_url"}]


def test_a_long_text_is_cut() -> None:
    said = content.input_of([{"role": "user", "content": "x" * 1_000_000}])
    assert all(len(str(value)) < 30_000 for value in said.values())


def test_of_a_long_chat_the_first_message_and_the_newest_remain() -> None:
    chat = [{"role": "user", "content": str(number)} for number in range(1_000)]
    said = content.input_of(chat)
    shown = [each["parts"][0]["content"] for each in json.loads(said["gen_ai.input.messages"])]
    assert (len(shown), shown[0], shown[-1]) == (50, "0", "999")
    # The SDK drops the oldest of more than 128 attributes: the name of the operation first.
    assert len(said) < 80


def test_arguments_that_are_no_json_are_shown_as_they_are() -> None:
    call = {"id": "c", "function": {"name": "look", "arguments": "{broken"}}
    said = content.input_of([{"role": "assistant", "content": "", "tool_calls": [call]}])
    [message] = json.loads(said["gen_ai.input.messages"])
    assert message["parts"][0]["arguments"] == "{broken"
