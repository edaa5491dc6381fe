"""The text of a content, for the search.

The search of SQLite finds words between spaces and signs. Chinese, Japanese and Thai do not write
them: there, each character is a word, and a text is found as a phrase of them. Between them stands
a space that nobody sees.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

LONGEST = 16_000  # characters of one message
_MOST_TEXTS = 10_000
_GAP = "\u200b"
# Thai, Lao, Burmese, Khmer; kana; Han.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
# Fields of agentd's own events and results that nobody searches for.
_BOOKKEEPING = frozenset({"event", "task", "life", "taskSequence", "delivery", "digest", "code"})


def text_of(content: Any) -> str:
    """All texts in a content, one after the other, as far as there is room."""
    if isinstance(content, str):
        return _clean(content[:LONGEST])
    parts, room = list[str](), LONGEST
    for part in _texts(content):
        parts.append(part[:room])
        room -= len(part) + 1
        if room <= 0 or len(parts) == _MOST_TEXTS:
            break
    return _clean("\n".join(parts))


def phrase(text: str) -> str:
    """The query of FTS5 that finds these words, one after the other; the last one may go on. "" if
    there is no word in the text."""
    words = spaced(text).replace("\0", " ").replace('"', '""')
    return f'"{words}" *' if re.search(r"\w", words) else ""


def spaced(text: str) -> str:
    """`text` with gaps around the characters that are words of their own."""
    return text if text.isascii() else _UNSPACED.sub(rf"{_GAP}\g<0>{_GAP}", text)


def joined(text: str) -> str:
    """The text that became `text` by `spaced`."""
    return text if text.isascii() else text.replace(_GAP, "")


def _texts(content: Any) -> Iterator[str]:
    """The texts in a content. What is nested was parsed, so it is not nested too deep."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for name, value in content.items():
            if name not in _BOOKKEEPING:
                yield from _texts(value)
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value)


def _clean(text: str) -> str:
    return text.replace("\0", " ")
