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
