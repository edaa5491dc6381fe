"""A provider's text can always be encoded as UTF-8."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.models.wire.text import text_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("grüße", "grüße"),
        ("\ud83d", "\ufffd"),
        ("\ud83d\ude00", "😀"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, "c", None], "abc"),
        (None, ""),
        (5, ""),
        ({"text": "a"}, ""),
    ],
)
def test_the_text_in_a_value(value: Any, text: str) -> None:
    assert text_of(value) == text
    text_of(value).encode()  # raises no error
