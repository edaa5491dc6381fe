"""How many columns of a terminal a text takes, and texts that take a given number."""

from __future__ import annotations

import unicodedata

_STACKED = 4  # characters a column; marks without a width of their own could be stacked without end


def width_of(text: str) -> int:
    """The columns that a text takes: a character of East Asia takes two."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


def padded(text: str, width: int) -> str:
    """The text, with spaces up to this width."""
    return text + " " * (width - width_of(text))


def cut(text: str, width: int) -> str:
    """The text in at most this width; one that is cut ends with `…`."""
    if width_of(text) <= width and len(text) <= _STACKED * width:
        return text
    if width < 1:
        return ""
    kept = text[: _STACKED * (width - 1)]
    while width_of(kept) > width - 1:
        # Each character takes two columns at most, so this many are too many.
        kept = kept[: -max(1, (width_of(kept) - width + 1) // 2)]
    return f"{kept}…"
