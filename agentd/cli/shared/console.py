"""Tables on the terminal; plain text in a pipe."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

# A pipe has no width. This is wide enough for our tables, so programs get one line per row.
_PIPE_WIDTH = 240


def console() -> Console:
    """Standard output; without colours and wrapping if it is not a terminal."""
    terminal = sys.stdout.isatty()
    return Console(highlight=False, width=None if terminal else _PIPE_WIDTH, soft_wrap=not terminal)


class Rows:
    """A table that is being filled."""

    def __init__(self, *headers: str) -> None:
        self._table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        for header in headers:
            self._table.add_column(header, overflow="fold")

    def add_row(self, *cells: str) -> None:
        """Adds a row. Cells are plain text: rich's markup in them is not interpreted."""
        self._table.add_row(*(Text(cell) for cell in cells))

    def show(self) -> None:
        """Prints the table to standard output."""
        console().print(self._table)


def table(*headers: str) -> Rows:
    """An empty table with these columns."""
    return Rows(*headers)
