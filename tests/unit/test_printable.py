"""Text of strangers must not steer a terminal, nor show less than what is there."""

from __future__ import annotations

import json
import sys
import unicodedata
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.printable import printable, printable_json

# These are "format" characters too, but every font draws them.
_DRAWN = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}.union(
    range(0x13430, 0x13460)
)


@cache
def hidden() -> tuple[str, ...]:
    """The characters of control and format, out of all of Unicode."""
    return tuple(
        chr(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp") and code not in _DRAWN
    )


def test_every_character_of_control_and_format_is_an_escape() -> None:
    for character in hidden():
        shown = printable(f"a{character}b")
        assert shown[1:-1].isascii(), shown
        assert shown[1] == "\\"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x9b\x00\x7f", "\\x1b[2J\\x9b\\x00\\x7f"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("abc\u202edef\u2066", "abc\\u202edef\\u2066"),
        ("pass\u200bword\ufeff", "pass\\u200bword\\ufeff"),
        ("\U000e0041\ud800", "\\U000e0041\\ud800"),
        ("Grüße, 你好 ☀\ufe0f\u3000x\xa0y", "Grüße, 你好 ☀\ufe0f\u3000x\xa0y"),
    ],
)
def test_what_hides_is_shown_and_the_rest_stays(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n\tb\r\nc", "a\n\tb\r\nc"),
        ("50 %\r99 %", "50 %\\r99 %"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👨\u200d👩", "👨\u200d👩"),
        ("a\u200db", "a\\u200db"),
        ("é\u200d\u200d", "é\u200d\\u200d"),
        ("é\u200b\u2028", "é\\u200b\\u2028"),
    ],
)
def test_prose_keeps_its_lines_and_the_joiners_of_its_script(text: str, shown: str) -> None:
    assert printable(text, lines=True) == shown


@given(
    st.text(st.characters(exclude_categories=()) | st.deferred(lambda: st.sampled_from(hidden())))
)
def test_json_with_escapes_is_the_same_data(text: str) -> None:
    shown = printable_json(json.dumps({"text": text}, ensure_ascii=False, indent=1))

    assert json.loads(shown) == json.loads(json.dumps({"text": text}))
    assert printable_json(shown) == shown
