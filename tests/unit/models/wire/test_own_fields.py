"""The fields that a model wants back are found, and those of a stream are put together."""

from __future__ import annotations

from agentd.models.wire import own_fields


def test_the_fields_of_many_providers_are_known() -> None:
    own = {
        "reasoning_content": "Hm.",
        "reasoning_details": [{"type": "reasoning.text"}],
        "thinking_blocks": [{"type": "thinking"}],
        "extra_content": {"google": {"thought_signature": "s"}},
        "provider_specific_fields": {"thought_signatures": ["s"]},
    }
    others = {"role": "assistant", "content": "x", "tool_calls": [], "audio": None, "refusal": None}
    empty = {"reasoning": None, "provider_specific_fields": {"refusal": None}, "signature": ""}
    assert own_fields.of_turn({**own, **others}) == own
    assert own_fields.of_turn({**others, **empty}) == {}


def test_the_fields_of_a_call_may_be_in_its_function() -> None:
    function = {"name": "f", "arguments": "{}", "thought_signature": "s"}
    call = {"id": "a", "type": "function", "index": 0, "function": function, "extra_content": 1}
    own = {"extra_content": 1, "function": {"thought_signature": "s"}}
    assert own_fields.of_call(call) == own
    assert own_fields.names([{"reasoning": "x", "tool_calls": [call]}]) == {
        *("reasoning", "extra_content", "function")
    }


def test_texts_grow() -> None:
    pieces = [{"reasoning": "I must"}, {"reasoning": " look."}, {"signature": "s"}]
    assert own_fields.joined(pieces) == {"reasoning": "I must look.", "signature": "s"}


def test_a_block_is_put_together_until_its_signature() -> None:
    def thinking(text: str, signature: str | None = None) -> dict[str, object]:
        return {"type": "thinking", "thinking": text, "signature": signature}

    redacted = {"type": "redacted_thinking", "data": "x"}
    pieces = [thinking("a"), thinking("b"), thinking("", "s"), redacted, redacted, thinking("c")]
    assert own_fields.joined([{"thinking_blocks": [piece]} for piece in pieces]) == {
        "thinking_blocks": [thinking("ab", "s"), redacted, redacted, thinking("c")]
    }


def test_blocks_with_another_index_stay_apart() -> None:
    pieces = [
        {"type": "reasoning.text", "index": index, "text": text}
        for index, text in ((0, "a"), (0, "b"), (1, "c"))
    ]
    assert own_fields.joined(
        [{"reasoning_details": pieces[:1]}, {"reasoning_details": pieces[1:]}]
    )["reasoning_details"] == [{**pieces[0], "text": "ab"}, pieces[2]]
