"""Everything that commands print: text for people, tables, JSON, answers.

Nothing else prints (a lint rule keeps it), so that text of strangers is always made safe.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import textwrap
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal, NamedTuple, TextIO

from agentd.cli.shared.cells import padded, width_of
from agentd.log import LineHandler, redact
from agentd.printable import printable, printable_json

Style = Literal["bold", "dim", "red", "green", "yellow"]
_STYLES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33}


class Styled(NamedTuple):
    """Text in a style of a terminal."""

    text: str
    style: Style


def say(*parts: str | Styled, err: bool = False, lines: bool = False, end: str = "\n") -> None:
    """Prints text for a person: one line, or several with `lines`.

    Hidden characters and those that steer a terminal are shown as escapes. Styles are left out
    where the output is no terminal.
    """
    stream = sys.stderr if err else sys.stdout
    colour = stream.isatty() and not os.environ.get("NO_COLOR")
    _write("".join(_painted(part, lines, colour) for part in parts) + end, stream)


def say_left_out(count: int, what: str) -> None:
    """Says on standard error how many records a list leaves out."""
    if count:
        say(f"{count:,} {what} are not listed", err=True)


def say_status(text: str) -> None:
    """Shows a line on the terminal of standard error until anything is printed; "" removes it."""
    if not sys.stderr.isatty():
        return
    # A line that wraps could not be removed.
    line = printable(text)[: shutil.get_terminal_size().columns - 1]
    _write(_painted(Styled(line, "dim"), False, True) if line else "", sys.stderr)
    _Terminal.has_status = bool(line)


def say_json(value: Any, *, indent: int | None = None) -> None:
    """Prints a value as JSON, exactly; what would steer a terminal as JSON's escapes."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    _write(printable_json(text) + "\n", sys.stdout)


def say_data(text: str, *, after: str = "", end: str = "") -> None:
    """Prints an answer, or a piece of one that stands after `after`.

    For a program or a file every character stays what it is. On a terminal the answer is text for
    a person.
    """
    if sys.stdout.isatty():
        text = printable(text, lines=True, after=after)
    _write(text + end, sys.stdout)


class Said:
    """A text file for libraries that print for people: it is standard error, by `say`."""

    def write(self, text: str) -> int:
        say(text, err=True, lines=True, end="")
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""

    def isatty(self) -> bool:
        return sys.stderr.isatty()


class SaidWarnings(logging.Handler):
    """Says the warnings of a command that writes no log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        if not any(isinstance(each, LineHandler) for each in logging.getLogger().handlers):
            say(redact(record.getMessage()), err=True)


class _Terminal:
    """What is on the terminal: whether its last line is one of `say_status`."""

    has_status = False


def clear() -> None:
    """Empties the terminal; in a pipe, an empty line stands between two lists."""
    _write("\x1b[H\x1b[2J" if sys.stdout.isatty() else "\n", sys.stdout)


def _write(text: str, stream: TextIO) -> None:
    if _Terminal.has_status:
        _Terminal.has_status = False
        print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
    # Flushed: an answer is read while it arrives, and the lines of both streams keep their order.
    print(text, end="", file=stream, flush=True)


def _painted(part: str | Styled, lines: bool, colour: bool) -> str:
    if isinstance(part, str):
        return printable(part, lines=lines)
    text = printable(part.text, lines=lines)
    return f"\x1b[{_STYLES[part.style]}m{text}\x1b[0m" if colour else text


class Rows:
    """A table that is being filled.

    Every cell stays whole: an id or a name that is cut or folded cannot be copied. If a terminal is
    too narrow for a table, the columns `below` stand under their row instead.
    """

    def __init__(self, *headers: str, below: Collection[str] = ()) -> None:
        self._headers = headers
        self._below = below
        self._rows: list[tuple[str, ...]] = []

    def add_row(self, *cells: str) -> None:
        """Adds a row. Cells are plain text."""
        self._rows.append(tuple(printable(cell) for cell in cells))

    def show(self) -> None:
        """Prints the table to standard output. A pipe has no width: each row is one line."""
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        every = range(len(self._headers))
        kept = [index for index in every if self._headers[index] not in self._below]
        fits = columns is None or sum(map(self._width, every)) + 2 * len(every) - 2 <= columns
        shown = list(every) if fits else kept
        under = [] if fits else [index for index in every if index not in kept]
        say(Styled(self._line(self._headers, shown), "dim"))
        for row in self._rows:
            say(self._line(row, shown))
            details = " · ".join(
                f"{self._headers[index].lower()} {row[index]}" for index in under if row[index]
            )
            for line in _wrapped(details, (columns or 80) - 4):
                say(Styled(f"    {line}", "dim"))

    def _line(self, cells: Sequence[str], shown: Iterable[int]) -> str:
        return "  ".join(padded(cells[index], self._width(index)) for index in shown).rstrip()

    def _width(self, index: int) -> int:
        return max(width_of(row[index]) for row in (self._headers, *self._rows))


def table(*headers: str, below: Collection[str] = ()) -> Rows:
    """An empty table with these columns."""
    return Rows(*headers, below=below)


def _wrapped(text: str, width: int) -> list[str]:
    """The text in lines. No space is lost: a person may approve what stands there."""
    return textwrap.wrap(
        text, width, break_on_hyphens=False, drop_whitespace=False, replace_whitespace=False
    )
