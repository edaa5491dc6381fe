"""The text of a content, for the search.

The search of SQLite finds words between spaces and signs. Chinese, Japanese and Thai do not write
them: there, each character is a word, and a text is found as a phrase of them. Between them stands
a space that nobody sees.
"""

from __future__ import annotations

import re
from typing import Any

LONGEST = 16_000  # characters of one message
_GAP = "\u200b"
# Thai, Lao, Burmese, Khmer; kana; Han.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)


def text_of(content: Any) -> str:
    """All texts in a content, one after the other, as far as there is room."""
    if isinstance(content, str):
        return content[:LONGEST].replace("\0", " ")
    texts, room, left = list[str](), LONGEST, [content]
    while left and room > 0:
        each = left.pop()
        if type(each) is str:
            texts.append(each[:room])
            room -= len(each) + 1
        elif isinstance(each, dict):
            left += list(each.values())[::-1]
        elif isinstance(each, list):
            left += each[::-1]
    return "\n".join(texts).replace("\0", " ")


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
