"""How many columns of a terminal a text takes."""

from __future__ import annotations

import pytest

from agentd.cli.shared.cells import cut, padded, width_of


@pytest.mark.parametrize(
    ("text", "width"), [("", 0), ("abc", 3), ("東京", 4), ("e\u0301", 1), ("✓ a", 3)]
)
def test_the_width_of_a_text(text: str, width: int) -> None:
    assert width_of(text) == width
    assert width_of(padded(text, 9)) == 9


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("abcdef", 1, "…"),
        ("abcdef", 0, ""),
        ("東京都", 5, "東京…"),
        ("東京都", 4, "東…"),
        ("a東b", 3, "a…"),
    ],
)
def test_a_text_that_is_too_wide_is_cut(text: str, width: int, shown: str) -> None:
    assert cut(text, width) == shown
    assert width_of(cut(text, width)) <= width


def test_marks_without_a_width_cannot_be_stacked_without_end() -> None:
    assert len(cut("a" + "\u0301" * 10_000, 20)) <= 80
