"""A provider's text as one that can be encoded as UTF-8."""

from __future__ import annotations

from typing import Any


def text_of(value: Any) -> str:
    """The text in a value; a list of content parts is joined; "" for anything else."""
    if isinstance(value, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in value]
        return "".join(text_of(part) for part in parts)
    if not isinstance(value, str):
        return ""
    if value.isascii():
        return value
    # "\ud83d" alone is valid JSON and invalid text: half an emoji, which a server cut in two.
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
