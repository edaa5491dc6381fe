"""Makes text of strangers safe to read: what steers a terminal or hides becomes visible.

A message, an answer of a model, a tool's text or a file may hold characters that move the cursor,
change colours, turn the direction of reading round or show nothing at all. A person who approves a
call must see what the machine will run.
"""

from __future__ import annotations

import re

# Control characters; characters that set the direction of reading; characters that show nothing;
# halves of surrogate pairs, which no terminal can be sent. Of the variation selectors the two of
# emoji stay.
_HIDDEN = (
    r"\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_hidden = re.compile(f"[{_HIDDEN}]")
# Persian, Hindi and many emoji need joiners between their characters. A joiner after an ASCII
# character, or a second one, has no use but to hide something.
_hidden_in_prose = re.compile(
    rf"(?![\n\t]|\r\n|(?<=[^\x00-\xa0{_HIDDEN}])[\u200c\u200d])[{_HIDDEN}]"
)
_hidden_in_json = re.compile(rf"(?!\n)[{_HIDDEN}]")
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def printable(text: str, *, lines: bool = False, after: str = "") -> str:
    r"""`text` with hidden characters and such that steer a terminal as escapes: `\x1b`, `\u202e`.

    With `lines` the text is prose of several lines: line breaks, tabs and the joiners of scripts
    and emoji stay. `after` is what was printed in front of it, if it is a piece of a text.
    """
    if not lines:
        return _hidden.sub(_escape, text)
    # Only a letter or an emoji in front makes a joiner at the beginning legitimate.
    last = after[-1:] if after[-1:] > "\xa0" else ""
    return _hidden_in_prose.sub(_escape, last + text)[len(printable(last)) :]


def printable_json(text: str) -> str:
    """JSON with these characters as the escapes of JSON: the data is exactly the same."""
    return _hidden_in_json.sub(_json_escape, text)


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def _json_escape(found: re.Match[str]) -> str:
    # JSON writes what is beyond 16 bits as two halves.
    halves = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{halves[at : at + 4]}" for at in range(0, len(halves), 4))
