"""YAML values that know their place in the file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from agentd.problems import Problem

Style = Literal["plain", "quoted", "literal", "folded"]
Value = str | int | float | bool | None

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,29})")
_FLOAT = re.compile(
    r"(?=[-+0-9]*[.eE])[-+]?(?:(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{0,99})?|\.[0-9]{1,99})(?:[eE][-+]?[0-9]{1,4})?"
)
_CONSTANTS: Mapping[str, bool | None] = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"], None),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
}


@dataclass(frozen=True, slots=True)
class YamlSource:
    """A file as it was read: its name for people and its lines."""

    file: str
    lines: tuple[str, ...] = field(repr=False)

    def line(self, number: int) -> str:
        """The text of a line, counted from 1; "" where there is none."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a source: line and column from 1, and how many characters it covers there."""

    source: YamlSource
    line: int
    column: int
    width: int = 1

    def problem(
        self, text: str, *, hint: str = "", severity: Literal["error", "warning"] = "error"
    ) -> Problem:
        """What is wrong here."""
        return Problem(
            file=self.source.file,
            text=text,
            line=self.line,
            column=self.column,
            width=self.width,
            source=self.source.line(self.line),
            hint=hint,
            severity=severity,
        )


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as written: text, number, true, false or null.

    `from_environment` is what environment variables gave to the text: it may be secret.
    """

    span: Span
    text: str
    style: Style = "plain"
    from_environment: tuple[str, ...] = field(default=(), repr=False)

    @property
    def value(self) -> Value:
        """What the text means; anything quoted is text.

        The core schema of YAML 1.2 without octal, hexadecimal, infinity and NaN: `on`, `no`,
        `012`, `12:30` and `2024-01-01` are text, `1e3` is a number.
        """
        return _resolve(self.text) if self.style == "plain" else self.text


@dataclass(frozen=True, slots=True)
class Seq:
    """A list."""

    span: Span
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """A mapping: a key's text to the key as it stands in the file and its value."""

    span: Span
    entries: Mapping[str, tuple[Scalar, Node]]

    def get(self, key: str) -> Node | None:
        """The value of `key`, None where it is absent."""
        entry = self.entries.get(key)
        return entry[1] if entry else None


Node = Scalar | Seq | Map


def plain(node: Node) -> Any:
    """The dicts, lists and scalars that a node stands for."""
    if isinstance(node, Map):
        return {key: plain(value) for key, (_, value) in node.entries.items()}
    if isinstance(node, Seq):
        return [plain(item) for item in node.items]
    return node.value


def environment_values(node: Node) -> Iterator[str]:
    """What environment variables gave to a node, and to all that is in it."""
    if isinstance(node, Scalar):
        yield from node.from_environment
        return
    inner = node.items if isinstance(node, Seq) else [value for _, value in node.entries.values()]
    for each in inner:
        yield from environment_values(each)


def is_text(text: str) -> bool:
    """Whether YAML reads `text` as text even without quotes, as far as its type goes."""
    return isinstance(_resolve(text), str)


def _resolve(text: str) -> Value:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text
