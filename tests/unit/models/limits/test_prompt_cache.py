"""A chat is marked after the prompt and after its last message, and else stays as it is."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.models.limits.prompt_cache import marked

MARK = {"type": "ephemeral"}
PROMPT = {"role": "system", "content": "Be brief."}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}


def text(content: str) -> dict[str, Any]:
    return {"type": "text", "text": content, "cache_control": MARK}


def test_the_prompt_and_the_last_message_are_marked() -> None:
    between = {"role": "assistant", "content": "Hello."}
    chat = [PROMPT, {"role": "user", "content": "Hi."}, between, {"role": "user", "content": "So?"}]
    first, second, third, last = marked(chat)
    assert first == {"role": "system", "content": [text("Be brief.")]}
    assert (second, third) == (chat[1], between)
    assert last == {"role": "user", "content": [text("So?")]}
    assert chat[0] == PROMPT


@pytest.mark.parametrize(
    ("last", "after"),
    [
        (
            {"role": "tool", "tool_call_id": "a", "content": "grey"},
            {"role": "tool", "tool_call_id": "a", "content": "grey", "cache_control": MARK},
        ),
        (
            {"role": "user", "content": [{"type": "text", "text": "look"}, IMAGE]},
            {
                "role": "user",
                "content": [{"type": "text", "text": "look"}, {**IMAGE, "cache_control": MARK}],
            },
        ),
        ({"role": "user", "content": ""}, {"role": "user", "content": ""}),
        ({"role": "user", "content": []}, {"role": "user", "content": []}),
        ({"role": "assistant", "content": None}, {"role": "assistant", "content": None}),
    ],
)
def test_a_mark_is_where_a_provider_takes_one(last: Any, after: Any) -> None:
    assert marked([PROMPT, last])[1] == after


def test_a_short_chat_is_marked_once() -> None:
    assert marked([PROMPT]) == [{"role": "system", "content": [text("Be brief.")]}]
    assert marked([]) == []
