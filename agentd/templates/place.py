"""Problems of a template text, and their places in the file that contains it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from agentd.manifest.yaml.nodes import Node, Scalar, Span
from agentd.problems import Problem


@dataclass(frozen=True)
class TemplatePlace:
    """Where a text begins in its file: text inside a manifest begins further down, indented."""

    file: str
    line: int = 1
    column: int = 1

    def at(self, line: int) -> str:
        """`file:line` of a line of the text; the first line is 1."""
        return f"{self.file}:{self.line + line - 1}"


@dataclass(frozen=True)
class PromptProblem:
    """A problem at a line of a template text.

    Attributes:
        line: counts from 1; 0 means that the problem has no place in the text.
        word: the word in this line to underline, or "".
        hint: how to fix the problem.
    """

    text: str
    line: int = 0
    word: str = ""
    hint: str = ""

    def in_file(self, source: str, place: TemplatePlace) -> Problem:
        """The problem in the file that contains the text `source` at `place`."""
        if not self.line:
            return Problem(file=place.file, text=self.text, hint=self.hint)
        text = line_of(source, self.line)
        column = _column(text, self.word)
        return Problem(
            file=place.file,
            line=place.line + self.line - 1,
            column=column and place.column + column - 1,
            width=max(1, len(self.word)),
            source=" " * (place.column - 1) + text,
            text=self.text,
            hint=self.hint,
        )


def place_of(node: Scalar) -> TemplatePlace:
    """Where the text of a YAML value begins: after the quote, or on the line after the `|`."""
    span = node.span
    line, column = span.line, span.column + (node.style == "quoted")
    if node.style == "literal":
        below = span.source.line(line + 1)
        line, column = line + 1, 1 + len(below) - len(below.lstrip(" "))
    return TemplatePlace(span.source.file, line, column)


def in_node(problem: PromptProblem, node: Node, span: Span) -> Problem:
    """The problem of a text in a YAML file: at its word, or at `span` if `node` is no text."""
    if isinstance(node, Scalar) and problem.line:
        return as_written(problem.in_file(node.text, place_of(node)), node)
    return span.problem(problem.text, hint=problem.hint)


def as_written(problem: Problem, node: Scalar) -> Problem:
    """A problem that was placed in the text of a YAML value, with its line of the file.

    If YAML has folded or unescaped the text, its lines and columns are not those of the file. Then
    the place is the whole value.
    """
    line = node.span.source.line(problem.line)
    if problem.line and (node.style == "literal" or node.text in line):
        return replace(problem, source=line)
    return node.span.problem(problem.text, hint=problem.hint, severity=problem.severity)


def line_of(source: str, number: int) -> str:
    """The text of a line, counted from 1; "" if there is no such line."""
    lines = re.split(r"\r\n|\r|\n", source)  # as Jinja counts them
    return lines[number - 1] if 0 < number <= len(lines) else ""


def _column(line: str, word: str) -> int:
    """The column of `word` in a line, counted from 1; 0 if the line does not contain it.

    A match inside a tag takes precedence: the text before the tag may contain the word as well.
    """
    edge = r"\b" if word.isidentifier() else ""
    pattern = re.compile(edge + re.escape(word) + edge)
    found = word and (pattern.search(line, _tag_start(line)) or pattern.search(line))
    return found.start() + 1 if found else 0


def _tag_start(line: str) -> int:
    tag = re.search(r"\{[{%]", line)
    return tag.end() if tag else 0
