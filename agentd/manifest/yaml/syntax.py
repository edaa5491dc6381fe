"""Says in plain words what libyaml found wrong with a text, and how to mend it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agentd.manifest.yaml.nodes import Span, YamlSource
from agentd.problems import Problem


@dataclass(frozen=True, slots=True)
class _Mistake:
    """`sign` is a pattern on libyaml's words; `opening` points at where the thing began."""

    sign: str
    text: str
    hint: str
    opening: bool = False


_VARIABLE = _Mistake(
    "",
    "a `${` inside [ ] or { } that is not quoted",
    'write "${…}" for a text; give a number a line of its own',
)
_TAB = _Mistake("", "a tab in the indentation", "indent with spaces")

_MISTAKES = (
    _Mistake("cannot start any token", "a value cannot begin with `{found}`", "quote it"),
    _Mistake(
        "scanning an (alias|anchor)", "a value cannot begin with `{opener}`", "quote it", True
    ),
    _Mistake("expected ',' or ']'", "this list is not closed", "items need commas, then a ]", True),
    _Mistake(
        "expected ',' or '}'", "this mapping is not closed", "fields need commas, then a }", True
    ),
    _Mistake("end of stream while scanning a quoted", "this quote is not closed", "", True),
    _Mistake("escape", "an unknown \\ inside double quotes", "write \\\\, or use single quotes"),
    _Mistake("document start", "more text after the end", "check indentation and quotes"),
    _Mistake(
        "mapping values are not allowed",
        "a `:` where no field can begin",
        "quote a value that contains `: `, or check the indentation",
    ),
    _Mistake("could not find expected ':'", "a field without a `:`", "write `name: value`", True),
    _Mistake(
        "expected (key|'-'|<block end>)",
        "this fits nothing before it",
        "check indentation and quotes",
    ),
    _Mistake("sequence entries are not allowed", "a list cannot begin here", "begin a new line"),
)


def explain(
    words: str, source: YamlSource, at: tuple[int, int], opened: tuple[int, int]
) -> Problem:
    """libyaml's error as a problem.

    `words` are its problem and context; `at` and `opened` are line and column from 1: where it
    stumbled, and where the thing that it was reading began.
    """
    line = source.line(at[0])
    template = re.search(r"(?:^|[:\[,-])\s{0,9}(\{[{%])", line[:200])
    if template:
        span = Span(source, at[0], template.start(1) + 1, 2)
        return span.problem("a template that is not quoted", hint='write "{{ … }}"')
    mistake = _recognise(words, line, at[1])
    place = opened if mistake.opening else at
    found = line[at[1] - 1 : at[1]]
    opener = source.line(opened[0])[opened[1] - 1 : opened[1]]
    text = mistake.text.replace("{found}", found).replace("{opener}", opener)
    return Span(source, *place).problem(text, hint=mistake.hint)


def _recognise(words: str, line: str, column: int) -> _Mistake:
    if re.search(r"[\[{].{0,200}\$\{", line[:400]) and "expected ','" in words:
        return _VARIABLE
    if "\t" in line[:column] and not line[: column - 1].strip():
        return _TAB
    for mistake in _MISTAKES:
        if re.search(mistake.sign, words):
            return mistake
    return _Mistake("", words.replace("<", "").replace(">", ""), "")
