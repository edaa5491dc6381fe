"""Turns the syntax errors of libyaml into problems in plain words, with hints."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from agentd.manifest.yaml.nodes import Span, YamlSource
from agentd.problems import Problem


@dataclass(frozen=True, slots=True)
class _Explanation:
    """Our words for the errors of libyaml that match `pattern`.

    `{found}` in the text is the character at which libyaml stopped, `{opener}` the one at which the
    list, quote or field began. `at_opening` places the problem at the latter.
    """

    pattern: str
    text: str
    hint: str
    at_opening: bool = False


_TEMPLATE = _Explanation("", "this template is not quoted", 'write "{{ … }}"')
_VARIABLE = _Explanation(
    "",
    "this `${` inside [ ] or { } is not quoted",
    'write "${…}" for a text, or put a number on a line of its own',
)
_COLON = _Explanation("", "a text with `: ` in it must be quoted", "")
_DASH = _Explanation("", "this item has no space after its `-`", "write `- item`", at_opening=True)
_ITEM = _Explanation("", "this item belongs to no list", "indent it below its field")
_INDENT = _Explanation(
    "",
    "the indentation of this line fits no line above it",
    "begin all fields of a mapping in the same column",
)
_NO_FIELD = _Explanation(
    "", "this does not fit what stands before it", "check indentation and quotes"
)
_QUOTES = {
    '"': _Explanation(
        "", "the text ends at the quote before this", 'write \\" for a quote inside double quotes'
    ),
    "'": _Explanation(
        "", "the text ends at the quote before this", "write '' for a quote inside single quotes"
    ),
}
# A template at the beginning of a value.
_TEMPLATE_BEGINS = re.compile(r"(?:^|[:\[,-])\s{0,9}(\{[{%])")
# A field, alone or as the first of an item, with a plain text that has another colon.
_VALUE = re.compile(r"\s*(?:- +)*[\w.-]+: +([^\s'\"{\[|>&*!%@`].*:(?: .*)?)$")
_TAB = _Explanation("", "this line is indented with a tab", "indent with spaces")

# The order matters: the first pattern that matches counts.
_EXPLANATIONS = (
    _Explanation("cannot start any token", "a value cannot begin with `{found}`", "quote it"),
    _Explanation(
        "scanning an (alias|anchor)",
        "a value cannot begin with `{opener}`",
        "quote it",
        at_opening=True,
    ),
    _Explanation(
        "expected ',' or ']'",
        "this list is not closed",
        "put commas between the items and a ] at the end",
        at_opening=True,
    ),
    _Explanation(
        "expected ',' or '}'",
        "this mapping is not closed",
        "put commas between the fields and a } at the end",
        at_opening=True,
    ),
    _Explanation(
        "end of stream while scanning a quoted",
        "this quote is not closed",
        "put the same quote at the end of the text",
        at_opening=True,
    ),
    _Explanation(
        "escape", "unknown escape inside double quotes", "write \\\\ for a \\, or use single quotes"
    ),
    _Explanation("document start", "unexpected text after the end", "check indentation and quotes"),
    _Explanation(
        "mapping values are not allowed",
        "no field can begin at this `:`",
        "quote a value that contains `: `, or check the indentation",
    ),
    _Explanation(
        "could not find expected ':'",
        "this field has no `:`",
        "write `name: value`",
        at_opening=True,
    ),
    _Explanation("expected ('-'|<block end>)", _NO_FIELD.text, _NO_FIELD.hint),
    _Explanation(
        "sequence entries are not allowed",
        "a list cannot begin here",
        "begin it on a new line",
    ),
)


def explain(
    words: str, source: YamlSource, at: tuple[int, int], opened: tuple[int, int]
) -> Problem:
    """The problem for a syntax error of libyaml.

    `words` are the problem and the context of the error. `at` and `opened` are line and column,
    counted from 1: where libyaml stopped, and where the list, quote or field began that it was
    reading.
    """
    line = source.line(at[0])
    # To libyaml an unquoted `{{ x }}` is a mapping in a mapping, and it complains about whatever
    # follows. The pattern is tried on a short piece: it must not be slow on a line of a megabyte.
    template = _TEMPLATE_BEGINS.search(line[:200]) or _template_in_flow(words, line[:400])
    if template and not _has_colon(words, line[: template.start(1)]):
        span = Span(source, at[0], template.start(1) + 1, 2)
        return span.problem(_TEMPLATE.text, hint=_TEMPLATE.hint)
    explanation = _find(words, line, at[1], source.line(opened[0]))
    place = opened if explanation.at_opening else at
    found = line[at[1] - 1 : at[1]]
    opener = source.line(opened[0])[opened[1] - 1 : opened[1]]
    text = explanation.text.replace("{found}", found).replace("{opener}", opener)
    return Span(source, *place).problem(text, hint=explanation.hint)


def _template_in_flow(words: str, line: str) -> re.Match[str] | None:
    """The first template in [ ] or { } that is not in quotes, if libyaml stopped because of it."""
    found = re.search(r"(\{[{%])", line) if "expected ','" in words else None
    inside = found and any(line[: found.start()].count(quote) % 2 for quote in "'\"")
    return None if inside else found


def _has_colon(words: str, line: str) -> bool:
    """Whether libyaml stopped at a second `: ` in a line, which is part of a text."""
    return "mapping values are not allowed" in words and bool(_VALUE.match(line))


def _quoted(text: str) -> str:
    text = text if len(text) <= 60 else text[:59] + "…"
    return f"'{text}'" if '"' in text else f'"{text}"'


def _find_in_block(line: str, column: int) -> _Explanation:
    """The explanation for a line that is no further field of the mapping above it."""
    before = line[: column - 1].rstrip()
    if not before:
        return _ITEM if line[column - 1 : column + 1] == "- " else _INDENT
    return _QUOTES.get(before[-1], _NO_FIELD)


def _find(words: str, line: str, column: int, opening: str) -> _Explanation:
    if re.search(r"[\[{].{0,200}\$\{", line[:400]) and "expected ','" in words:
        return _VARIABLE
    if "\t" in line[:column] and not line[: column - 1].strip():
        return _TAB
    if "expected key" in words:
        return _find_in_block(line, column)
    if "could not find" in words and re.match(r"\s*-[^\s-]", opening):
        return _DASH
    if _has_colon(words, line) and (value := _VALUE.match(line)):
        return replace(_COLON, hint=f"write {_quoted(value[1])}")
    for explanation in _EXPLANATIONS:
        if re.search(explanation.pattern, words):
            return explanation
    # An error that is not in the table; `<stream end>` and the like would look like HTML.
    return _Explanation("", words.replace("<", "").replace(">", ""), "")
