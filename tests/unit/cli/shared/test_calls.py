"""A call that waits for a person, in one line."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.cli.shared.calls import call_in_words

ASKED: dict[str, Any] = {"index": 0, "name": "ask_person", "arguments": {"question": "Which?"}}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"index": 0, "name": "pay", "arguments": {"to": "Jürg"}}, '{"to": "Jürg"}'),
        ({**ASKED, "question": "Which?"}, "Which?"),
        ({**ASKED, "question": "Which?", "choices": ["a", "b"]}, "Which? (a or b)"),
        (
            {**ASKED, "question": "Which?", "choices": ["a", "b"], "default": "a"},
            "Which? (a or b; by default a)",
        ),
    ],
)
def test_arguments_or_the_question(call: dict[str, Any], words: str) -> None:
    assert call_in_words(call) == words


def test_of_long_arguments_the_beginning_is_shown_with_a_note() -> None:
    words = call_in_words({"arguments": {"text": "x" * 4_000_000}})
    assert len(words) < 5_000
    assert words.startswith('{"text": "xxx')
    assert words.endswith("… [3,996,012 more characters; all of them: agentd approvals ls --json]")
