"""A chat for a server that takes no marks is the chat as it was before it was marked."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.models.limits.prompt_cache import marked
from agentd.models.wire import cache_marks

IMAGE = {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}
CHATS: list[list[dict[str, Any]]] = [
    [],
    [{"role": "user", "content": "hello"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}],
    [{"role": "user", "content": [{"type": "text", "text": "look"}, IMAGE]}],
    [{"role": "user", "content": "a"}, {"role": "tool", "tool_call_id": "a", "content": "grey"}],
    [{"role": "assistant", "content": None, "tool_calls": [{"id": "a"}]}],
]


@pytest.mark.parametrize("chat", CHATS)
def test_marks_are_found_and_taken_out(chat: list[dict[str, Any]]) -> None:
    with_marks = marked(chat)
    assert not cache_marks.are_in(chat)
    assert cache_marks.are_in(with_marks) == (with_marks != chat)
    assert cache_marks.taken_out(with_marks) == chat
