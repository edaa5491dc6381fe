"""Draws a trace: a line for each node, with a bar of its time, as wide as the terminal is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentd.cli.record.words import details, duration, headline, sums
from agentd.cli.shared.cells import cut, padded, width_of
from agentd.cli.shared.console import Style, Styled
from agentd.printable import printable

if TYPE_CHECKING:
    from agentd.record.trace.node import Node, Status

Line = Sequence[str | Styled]

_MARKS: Mapping[Status, tuple[str, Style]] = {
    "ok": ("✓", "green"),
    "failed": ("✗", "red"),
    "waiting": ("○", "yellow"),
    "": ("·", "dim"),
}
_TIME = 12  # columns of a duration
_HERE = " ◀"  # behind the message that was asked for
_LEAST = 40  # columns; a narrower terminal wraps


def drawn(
    tree: Node,
    *,
    width: int,
    asked: str = "",
    under: Callable[[Node], Iterator[str]] = lambda node: iter(()),
) -> Iterator[Line]:
    """The lines of a conversation.

    Args:
        asked: an id or the number of a record: its node is marked.
        under: more lines of text below a node.
    """
    picture = _Picture(max(width, _LEAST), asked, under)
    yield [Styled(cut(printable(_title(tree)), picture.width), "bold")]
    for child in tree.children:
        yield [""]
        yield from picture.of(child)


def _title(tree: Node) -> str:
    count = tree.details.get("tasks", 0)
    parts = [f"{count:,} task{'' if count == 1 else 's'}", *sums(tree.details)]
    if tree.ended is not None:
        parts.insert(1, duration(tree.ended - tree.began))
    return f"conversation {tree.id}  {' · '.join(parts)}"


@dataclass(frozen=True)
class _Scale:
    """Where a time stands in a bar of so many columns."""

    began: float
    ended: float
    columns: int

    @classmethod
    def of(cls, node: Node, columns: int) -> _Scale:
        """The scale of a node with all below it."""
        times = [time for each in node.walk() for time in (each.began, each.ended) if time]
        return cls(min(times, default=0.0), max(times, default=0.0), columns)

    def bar(self, node: Node) -> str:
        """The bar of a node: `░` while it waited, `█` while it was worked on."""
        last = self.ended if node.ended is None else node.ended
        first, end = self._column(node.began), self._column(last)
        waits = node.kind == "approval" or node.status == "waiting"
        start = end if waits else self._column(node.started or node.began)
        if last <= node.began:
            return " " * min(first, self.columns - 1) + "╵"
        bar = "░" * (start - first) + "█" * (end - start)
        return " " * min(first, self.columns - 1) + (bar or ("░" if waits else "█"))

    def _column(self, time: float) -> int:
        length = self.ended - self.began
        share = (time - self.began) / length if length else 0.0
        return round(min(max(share, 0.0), 1.0) * self.columns)


@dataclass(frozen=True)
class _Picture:
    width: int
    asked: str
    under: Callable[[Node], Iterator[str]]

    @property
    def bar(self) -> int:
        """The columns of the bars."""
        return 16 if self.width < 100 else min(40, self.width // 4)

    @property
    def label(self) -> int:
        """The columns of what stands before them."""
        return self.width - self.bar - _TIME - 1

    def of(self, node: Node) -> Iterator[Line]:
        """The lines of a task or an event at the root."""
        yield from self._lines(node, _Scale.of(node, self.bar), "", "")

    def _lines(self, node: Node, scale: _Scale, first: str, rest: str) -> Iterator[Line]:
        """The lines of a node and of all below it: `first` stands before its line, `rest` before
        all others."""
        yield self._line(node, scale, self._shallow(first))
        below = self._shallow(rest + ("│  " if node.children else "   "))
        for line in _wrapped(details(node), self.width - width_of(below)):
            yield [Styled(below, "dim"), Styled(line, "dim")]
        for text in self.under(node):
            yield [Styled(below, "dim"), text]
        for child in node.children:
            last = child is node.children[-1]
            yield from self._lines(
                child, scale, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  ")
            )

    def _line(self, node: Node, scale: _Scale, before: str) -> Line:
        mark, style = _MARKS[node.status]
        here = self.asked and self.asked in (node.id, *map(str, node.sequences))
        room = self.label - width_of(before) - 2 - (len(_HERE) if here else 0)
        text = cut(printable(headline(node)), room) + (_HERE if here else "")
        label = padded(text, self.label - width_of(before) - 2)
        time = "" if node.ended is None else duration(node.ended - node.began)
        tail = f" {padded(scale.bar(node), self.bar)}{time:>{_TIME}}".rstrip()
        return [
            Styled(before, "dim"),
            Styled(mark, style),
            " ",
            Styled(label, "bold") if here else label,
            tail if node.ended != node.began else tail.removesuffix("0 ms").rstrip(),
        ]

    def _shallow(self, before: str) -> str:
        """The lines of the tree before a node; of one that is very deep only the last ones."""
        most = self.label // 2
        return before if len(before) <= most else f"…{before[len(before) - most + 1 :]}"


def _wrapped(facts: Sequence[str], width: int) -> Iterator[str]:
    """The facts in lines of this width; none of them is cut, for ids are copied from here."""
    line = ""
    for fact in map(printable, facts):
        longer = f"{line} · {fact}" if line else fact
        if line and width_of(longer) > width:
            yield line
            longer = fact
        line = longer
    if line:
        yield line
