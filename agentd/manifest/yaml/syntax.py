"""Turns the syntax errors of libyaml into problems in plain words, with hints."""

from __future__ import annotations

import re
from dataclasses import dataclass

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
    _Explanation(
        "expected (key|'-'|<block end>)",
        "this does not fit what stands before it",
        "check indentation and quotes",
    ),
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
    template = re.search(r"(?:^|[:\[,-])\s{0,9}(\{[{%])", line[:200])
    if template:
        span = Span(source, at[0], template.start(1) + 1, 2)
        return span.problem(_TEMPLATE.text, hint=_TEMPLATE.hint)
    explanation = _find(words, line, at[1])
    place = opened if explanation.at_opening else at
    found = line[at[1] - 1 : at[1]]
    opener = source.line(opened[0])[opened[1] - 1 : opened[1]]
    text = explanation.text.replace("{found}", found).replace("{opener}", opener)
    return Span(source, *place).problem(text, hint=explanation.hint)


def _find(words: str, line: str, column: int) -> _Explanation:
    if re.search(r"[\[{].{0,200}\$\{", line[:400]) and "expected ','" in words:
        return _VARIABLE
    if "\t" in line[:column] and not line[: column - 1].strip():
        return _TAB
    for explanation in _EXPLANATIONS:
        if re.search(explanation.pattern, words):
            return explanation
    # An error that is not in the table; `<stream end>` and the like would look like HTML.
    return _Explanation("", words.replace("<", "").replace(">", ""), "")
