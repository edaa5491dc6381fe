"""Reads YAML, which may be hostile, into nodes that know their place, or into problems."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

from agentd.errors import AgentdError
from agentd.manifest.yaml.nodes import Map, Node, Scalar, Seq, Span, Style, YamlSource
from agentd.manifest.yaml.syntax import explain
from agentd.problems import Problem

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_NODES = 20_000
MAX_PROBLEMS = 50

# The line breaks that libyaml counts. str.splitlines knows more of them, so lines would be shifted.
_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
_STYLES: dict[str | None, Style] = {"|": "literal", ">": "folded", "'": "quoted", '"': "quoted"}
_DEFAULTS_HINT = "put fields that agents share into _defaults.yaml"


@dataclass(frozen=True, slots=True)
class Document:
    """The result of `read`. The root is None if the file is empty or cannot be read at all."""

    root: Node | None
    problems: tuple[Problem, ...] = ()


def read(text: str | bytes, file: str) -> Document:
    """The nodes of the one YAML document in `text`, and all its problems.

    `file` is the name that problems show. The function never raises, whatever the bytes: size,
    depth and number of nodes are limited, and directives, tags, aliases, merge keys and duplicate
    keys are problems.
    """
    problems: list[Problem] = []
    try:
        root = _Composer(_open(text, file), problems).document()
    except _YamlRefused as refused:
        # A line with a syntax error may have caused a problem before: report only the error.
        others = [p for p in problems if p.line != refused.problem.line]
        return Document(None, (*others, refused.problem))
    return Document(root, tuple(problems))


class _YamlRefused(AgentdError):
    """The text cannot be read further."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem


def _open(text: str | bytes, file: str) -> YamlSource:
    """The decoded lines; raises _YamlRefused for text that libyaml must not parse at all."""
    if len(text) > MAX_BYTES:
        size = f"is larger than {MAX_BYTES:,} bytes, the limit of a YAML file"
        raise _YamlRefused(Problem(file=file, text=size))
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            line = text.count(b"\n", 0, error.start) + 1
            hint = "save the file as UTF-8"
            problem = Problem(file=file, text="is not UTF-8 text", line=line, hint=hint)
            raise _YamlRefused(problem) from None
    source = YamlSource(file, tuple(_BREAK.split(text.removeprefix("\ufeff"))))
    for number, line in enumerate(source.lines, 1):
        if line.startswith("%TAG"):
            # 50,000 of these keep libyaml busy for seconds before it yields its first event.
            directive = Span(source, number, 1, 4)
            raise _YamlRefused(directive.problem("YAML directives are not allowed"))
    return source


class _Composer:
    """Builds nodes from libyaml's events, and counts them.

    `yaml.load` cannot be used: the C loader overflows the stack on deep nesting, follows YAML 1.1
    (`on` is true, `012` is ten) and drops duplicate keys, and nested merge keys grow exponentially.
    """

    def __init__(self, source: YamlSource, problems: list[Problem]) -> None:
        self._source = source
        self._text = "\n".join(source.lines)
        self._problems = problems
        self._events: Iterator[Any] = iter(())
        self._nodes = 0

    def document(self) -> Node | None:
        """The root of the document; None if it is empty."""
        root: Node | None = None
        try:
            self._events = yaml.parse(self._text, Loader=yaml.CSafeLoader)
            for event in self._events:
                if isinstance(event, yaml.NodeEvent) and root is None:
                    root = self._node(event, 0)
                elif isinstance(event, yaml.NodeEvent):
                    self._stop(
                        event, "a second document begins here", "put it into a file of its own"
                    )
        except yaml.MarkedYAMLError as error:
            raise _YamlRefused(_syntax(error, self._source)) from None
        except yaml.reader.ReaderError as error:
            raise _YamlRefused(self._unreadable(error)) from None
        except UnicodeEncodeError:
            # Half of a surrogate pair, which only a `str` can hold.
            problem = Problem(file=self._source.file, text="is not valid Unicode")
            raise _YamlRefused(problem) from None
        empty = isinstance(root, Scalar) and root.style == "plain" and not root.text
        return None if empty else root

    def _node(self, event: Any, depth: int) -> Node:
        self._nodes += 1
        if depth > MAX_DEPTH:
            self._stop(event, f"the nesting is deeper than {MAX_DEPTH} levels")
        if self._nodes > MAX_NODES:
            self._stop(event, f"the file has more than {MAX_NODES:,} values")
        if isinstance(event, yaml.AliasEvent):
            hint = f"{_DEFAULTS_HINT}, and quote a text that begins with `*`"
            self._report(event, "YAML aliases are not allowed", hint)
            return Scalar(self._span(event), "", "quoted")
        if event.tag:
            self._report(event, "YAML tags are not allowed", "to make a value text, quote it")
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(self._span(event), event.value, _STYLES.get(event.style, "plain"))
        if isinstance(event, yaml.SequenceStartEvent):
            items = [self._node(item, depth + 1) for item in self._until(yaml.SequenceEndEvent)]
            return Seq(self._span(event), tuple(items))
        return self._mapping(event, depth)

    def _mapping(self, start: Any, depth: int) -> Map:
        entries: dict[str, tuple[Scalar, Node]] = {}
        for event in self._until(yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            value = self._node(next(self._events), depth + 1)
            if not isinstance(key, Scalar):
                # Without quotes `{{ x }}` is a mapping whose only key is a mapping.
                template = self._source.lines[event.start_mark.line].find("{{") >= 0
                what = "this template is not quoted" if template else "a key must be text"
                self._report(start, what, 'write "{{ … }}"' if template else "")
            elif key.text == "<<" and key.style == "plain":
                self._report(event, "YAML merge keys are not allowed", _DEFAULTS_HINT)
            elif key.text in entries:
                first = f"it is already in line {entries[key.text][0].span.line}"
                self._report(event, f"`{shorten(key.text)}` is given twice", first)
            else:
                entries[key.text] = (key, value)
        return Map(self._span(start), entries)

    def _until(self, end: type[yaml.Event]) -> Iterator[Any]:
        while not isinstance(event := next(self._events), end):
            yield event

    def _span(self, event: Any) -> Span:
        start, end = event.start_mark, event.end_mark
        if start.line >= len(self._source.lines):
            # libyaml places a value that is missing at the end of the file behind its last line.
            last = len(self._source.lines)
            return Span(self._source, last, len(self._source.line(last)) + 1)
        stop = end.column if end.line == start.line else len(self._source.line(start.line + 1))
        return Span(self._source, start.line + 1, start.column + 1, max(1, stop - start.column))

    def _stop(self, event: Any, text: str, hint: str = "") -> NoReturn:
        raise _YamlRefused(self._span(event).problem(text, hint=hint))

    def _report(self, event: Any, text: str, hint: str) -> None:
        if len(self._problems) >= MAX_PROBLEMS:
            self._stop(event, f"the file has more than {MAX_PROBLEMS} problems")
        self._problems.append(self._span(event).problem(text, hint=hint))

    def _unreadable(self, error: yaml.reader.ReaderError) -> Problem:
        before = self._text[: error.position].split("\n")
        span = Span(self._source, len(before), len(before[-1]) + 1)
        return span.problem("this is a control character", hint="save the file as plain text")


def shorten(text: str, length: int = 60) -> str:
    """`text`, cut to a length that fits into a sentence."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _syntax(error: yaml.MarkedYAMLError, source: YamlSource) -> Problem:
    """The problem for a syntax error of libyaml, which counts lines and columns from 0."""
    words = f"{error.problem} {error.context or ''}".strip()
    at, opened = (
        (mark.line + 1, mark.column + 1) if mark else (1, 1)
        for mark in (error.problem_mark, error.context_mark or error.problem_mark)
    )
    return explain(words, source, at, opened)
