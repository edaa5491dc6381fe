"""Everything that commands print: text for people, tables, JSON, answers.

Nothing else prints (a lint rule keeps it), so that text of strangers is always made safe.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TextIO

from agentd.printable import printable, printable_json

if TYPE_CHECKING:
    from rich.console import Console

# A pipe has no width. This is wide enough for our tables, so programs get one line per row.
_PIPE_WIDTH = 240


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


class _Terminal:
    """What is on the terminal: whether its last line is one of `say_status`."""

    has_status = False


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


def console() -> Console:
    """Standard output; without colours and wrapping if it is not a terminal."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    return Console(highlight=False, width=None if terminal else _PIPE_WIDTH, soft_wrap=not terminal)


class Rows:
    """A table that is being filled."""

    def __init__(self, *headers: str) -> None:
        from rich.table import Table

        self._table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        for header in headers:
            self._table.add_column(header, overflow="fold")

    def add_row(self, *cells: str) -> None:
        """Adds a row. Cells are plain text: rich's markup in them is not interpreted."""
        from rich.text import Text

        self._table.add_row(*(Text(printable(cell)) for cell in cells))

    def show(self) -> None:
        """Prints the table to standard output."""
        console().print(self._table)


def table(*headers: str) -> Rows:
    """An empty table with these columns."""
    return Rows(*headers)
