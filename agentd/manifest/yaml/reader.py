"""Reads YAML, hostile or not, into nodes that know their place, or says what is wrong with it."""

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

# The line breaks that libyaml counts; str.splitlines knows others and would shift the lines.
_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
_STYLES: dict[str | None, Style] = {"|": "literal", ">": "folded", "'": "quoted", '"': "quoted"}
_SHARE = "put what agents share into _defaults.yaml"


@dataclass(frozen=True, slots=True)
class Document:
    """What `read` found: the root is None when the file is empty or cannot be read at all."""

    root: Node | None
    problems: tuple[Problem, ...] = ()


def read(text: str | bytes, file: str) -> Document:
    """The nodes of the one YAML document in `text`, and everything that is wrong with it.

    `file` is the name that problems show. Never raises, whatever the bytes: size, depth and number
    of nodes are bounded; directives, tags, aliases, merge keys and duplicate keys are problems.
    """
    problems: list[Problem] = []
    try:
        root = _Composer(_open(text, file), problems).document()
    except _YamlRefused as refused:
        # A line that broke the syntax may have looked odd before: one mistake, one problem.
        earlier = [p for p in problems if p.line != refused.problem.line]
        return Document(None, (*earlier, refused.problem))
    return Document(root, tuple(problems))


class _YamlRefused(AgentdError):
    """Reading stops here."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem


def _open(text: str | bytes, file: str) -> YamlSource:
    """Decodes and splits; refuses what libyaml must not even see."""
    if len(text) > MAX_BYTES:
        size = f"{len(text):,} bytes are more than the {MAX_BYTES:,} of a YAML file"
        raise _YamlRefused(Problem(file=file, text=size))
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            line = text.count(b"\n", 0, error.start) + 1
            mend = "save the file as UTF-8"
            raise _YamlRefused(Problem(file=file, text="not UTF-8", line=line, hint=mend)) from None
    source = YamlSource(file, tuple(_BREAK.split(text.removeprefix("\ufeff"))))
    for number, line in enumerate(source.lines, 1):
        if line.startswith("%TAG"):
            # Some 50,000 of these keep libyaml busy for seconds before it yields an event.
            raise _YamlRefused(Span(source, number, 1, 4).problem("YAML directives are not taken"))
    return source


class _Composer:
    """Builds nodes from libyaml's events, counting as it goes.

    Events, not `yaml.load`: the C loader overflows the stack on deep nesting, resolves by YAML 1.1
    (`on` is true, `012` is ten), drops duplicate keys, and merge keys grow exponentially.
    """

    def __init__(self, source: YamlSource, problems: list[Problem]) -> None:
        self._source = source
        self._text = "\n".join(source.lines)
        self._problems = problems
        self._events: Iterator[Any] = iter(())
        self._nodes = 0

    def document(self) -> Node | None:
        """The root of the document."""
        root: Node | None = None
        try:
            self._events = yaml.parse(self._text, Loader=yaml.CSafeLoader)
            for event in self._events:
                if isinstance(event, yaml.NodeEvent) and root is None:
                    root = self._node(event, 0)
                elif isinstance(event, yaml.NodeEvent):
                    self._stop(event, "a second document; one file holds one")
        except yaml.MarkedYAMLError as error:
            raise _YamlRefused(_syntax(error, self._source)) from None
        except yaml.reader.ReaderError as error:
            raise _YamlRefused(self._unreadable(error)) from None
        except UnicodeEncodeError:
            raise _YamlRefused(Problem(file=self._source.file, text="not valid Unicode")) from None
        empty = isinstance(root, Scalar) and root.style == "plain" and not root.text
        return None if empty else root

    def _node(self, event: Any, depth: int) -> Node:
        self._nodes += 1
        if depth > MAX_DEPTH:
            self._stop(event, f"nested deeper than {MAX_DEPTH} levels")
        if self._nodes > MAX_NODES:
            self._stop(event, f"more than {MAX_NODES:,} values in one file")
        if isinstance(event, yaml.AliasEvent):
            mend = f"{_SHARE}, and quote a text that begins with `*`"
            self._report(event, "YAML aliases are not taken", mend)
            return Scalar(self._span(event), "", "quoted")
        if event.tag:
            self._report(event, "YAML tags are not taken", "quote a value to make it text")
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
                template = self._source.lines[event.start_mark.line].find("{{") >= 0
                what = "a template that is not quoted" if template else "a key must be text"
                self._report(start, what, 'write "{{ … }}"' if template else "")
            elif key.text == "<<" and key.style == "plain":
                self._report(event, "YAML merge keys are not taken", _SHARE)
            elif key.text in entries:
                first = f"it stands in line {entries[key.text][0].span.line} already"
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
            # A value that is left out at the end of the file is marked behind it.
            last = len(self._source.lines)
            return Span(self._source, last, len(self._source.line(last)) + 1)
        stop = end.column if end.line == start.line else len(self._source.line(start.line + 1))
        return Span(self._source, start.line + 1, start.column + 1, max(1, stop - start.column))

    def _stop(self, event: Any, text: str) -> NoReturn:
        raise _YamlRefused(self._span(event).problem(text))

    def _report(self, event: Any, text: str, hint: str) -> None:
        if len(self._problems) >= MAX_PROBLEMS:
            self._stop(event, "too many mistakes to go on")
        self._problems.append(self._span(event).problem(text, hint=hint))

    def _unreadable(self, error: yaml.reader.ReaderError) -> Problem:
        before = self._text[: error.position].split("\n")
        span = Span(self._source, len(before), len(before[-1]) + 1)
        return span.problem("a control character", hint="save the file as plain text")


def shorten(text: str, length: int = 60) -> str:
    """`text`, short enough to stand inside a sentence."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _syntax(error: yaml.MarkedYAMLError, source: YamlSource) -> Problem:
    words = f"{error.problem} {error.context or ''}".strip()
    at, opened = (
        (mark.line + 1, mark.column + 1) if mark else (1, 1)
        for mark in (error.problem_mark, error.context_mark or error.problem_mark)
    )
    return explain(words, source, at, opened)
