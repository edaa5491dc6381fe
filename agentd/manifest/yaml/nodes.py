"""YAML values that know their line and column, and what a scalar means."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from agentd.problems import Problem

Style = Literal["plain", "quoted", "literal", "folded"]
Value = str | int | float | bool | None

# Digits are bounded: converting a number of a million digits would take minutes.
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,29})")
_FLOAT = re.compile(
    r"(?=[-+0-9]*[.eE])[-+]?(?:(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{0,99})?|\.[0-9]{1,99})(?:[eE][-+]?[0-9]{1,4})?"
)
# `yes`, `no`, `on` and `off` are missing on purpose: in YAML 1.2 they are text.
_CONSTANTS: Mapping[str, bool | None] = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"], None),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
}


@dataclass(frozen=True, slots=True)
class YamlSource:
    """The text of a file: its name in problems, and its lines."""

    file: str
    lines: tuple[str, ...] = field(repr=False)

    def line(self, number: int) -> str:
        """The text of a line, counted from 1; "" if there is no such line."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a file: line and column, counted from 1, and the number of characters."""

    source: YamlSource
    line: int
    column: int
    width: int = 1

    def problem(
        self, text: str, *, hint: str = "", severity: Literal["error", "warning"] = "error"
    ) -> Problem:
        """A problem at this place."""
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
    """One value as it is written: text, number, true, false or null.

    `from_environment` holds the values of environment variables in the text: they may be secret.
    """

    span: Span
    text: str
    style: Style = "plain"
    from_environment: tuple[str, ...] = field(default=(), repr=False)

    @property
    def value(self) -> Value:
        """The value that the text stands for; quoted text is always text.

        This is the core schema of YAML 1.2 without octal and hexadecimal numbers, infinity and
        NaN: `on`, `no`, `012`, `12:30` and `2024-01-01` are text, `1e3` is a number.
        """
        return _resolve(self.text) if self.style == "plain" else self.text


@dataclass(frozen=True, slots=True)
class Seq:
    """A list."""

    span: Span
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """A mapping. Each entry has the key, as it stands in the file, and the value."""

    span: Span
    entries: Mapping[str, tuple[Scalar, Node]]

    def get(self, key: str) -> Node | None:
        """The value of `key`; None if it is absent."""
        entry = self.entries.get(key)
        return entry[1] if entry else None


Node = Scalar | Seq | Map


def plain(node: Node) -> Any:
    """The dicts, lists and scalars of a node, without places."""
    if isinstance(node, Map):
        return {key: plain(value) for key, (_, value) in node.entries.items()}
    if isinstance(node, Seq):
        return [plain(item) for item in node.items]
    return node.value


def environment_values(node: Node) -> Iterator[str]:
    """The values of environment variables in a node and in all nodes inside it."""
    if isinstance(node, Scalar):
        yield from node.from_environment
        return
    inner = node.items if isinstance(node, Seq) else [value for _, value in node.entries.values()]
    for each in inner:
        yield from environment_values(each)


def is_text(text: str) -> bool:
    """Whether `text` without quotes means text, and not a number, true, false or null.

    It may still need quotes for other reasons, for example because it contains `: `.
    """
    return isinstance(_resolve(text), str)


def flow_style(value: Any) -> str:
    """`value` as YAML on one line, in what YAML calls flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow_style(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow_style(each) for each in value) + "]"
    if isinstance(value, str) and is_text(value) and re.fullmatch(r"\w[\w ./*=-]*(:\w+)?", value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _resolve(text: str) -> Value:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text):
        return int(text)
    # `1e999` would be infinite, which JSON cannot express.
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text
