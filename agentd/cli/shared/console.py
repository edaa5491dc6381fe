"""What the terminal shows: tables, and one colour for each agent; plain text in a pipe."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Wide enough for any table; a pipe has no width of its own.
_PIPE_WIDTH = 240


def console() -> Console:
    """Standard output; without colour and wrapping when it is no terminal."""
    terminal = sys.stdout.isatty()
    return Console(highlight=False, width=None if terminal else _PIPE_WIDTH, soft_wrap=not terminal)


class Rows:
    """A table being filled."""

    def __init__(self, *headers: str) -> None:
        self._table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        for header in headers:
            self._table.add_column(header, overflow="fold")

    def add_row(self, *cells: str) -> None:
        """Adds one row; cells are text, not markup."""
        self._table.add_row(*(Text(cell) for cell in cells))

    def show(self) -> None:
        """Prints it."""
        console().print(self._table)


def table(*headers: str) -> Rows:
    """An empty table with these columns."""
    return Rows(*headers)
