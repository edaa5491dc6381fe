"""What one rendering of a template may spend, and how large a value in it may become."""

from __future__ import annotations

import re
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from time import perf_counter, thread_time
from typing import Any

from agentd.errors import AgentdError

MAX_SECONDS = 0.25  # for one rendering
MAX_SIZE = 1_000_000  # of one value: its characters, and ITEM for each member of a collection
MAX_WORK = 32 * MAX_SIZE  # of all the values and text that one rendering makes
MAX_BITS = 8_192  # of one whole number

ITEM = 16
SCAN = 64  # characters that are compared in the time that one is made

COLLECTIONS = (Mapping, list, tuple, set, frozenset)


class BoundExceeded(AgentdError):
    """A template asked for more than it may have."""


class Budget:
    """What is left of one rendering's time and work."""

    __slots__ = ("_cpu_deadline", "_deadline", "_halves", "_left")

    def __init__(self) -> None:
        self._left = MAX_WORK
        self._halves = 2
        self._start_half()

    def spend(self, amount: int = 0) -> None:
        """Take one step, which makes `amount` of text or values.

        Raises:
            Refused: the time or the work is used up.
        """
        self._left -= amount
        if self._left < 0:
            raise BoundExceeded(f"makes more than {MAX_WORK:,} characters on its way")
        # Only the time that we burnt ourselves counts: a busy or suspended machine is not the
        # template's fault. That clock is a system call, so it is asked last.
        if perf_counter() > self._deadline and thread_time() > self._cpu_deadline:
            self._end_half()

    def made(self, value: Any) -> Any:
        """`value`, paid for. What could be read only once comes back as a list.

        Raises:
            Refused: it is larger than `MAX_SIZE`, or the budget is used up.
        """
        if isinstance(value, _READ_ONCE):
            value = self._collected(value)
        elif type(value) is int and value.bit_length() > MAX_BITS:
            raise BoundExceeded(f"makes a number of more than {MAX_BITS:,} bits")
        self.spend(size(value))
        return value

    # The time is given in two halves, since a garbage collection of any length may fall into one:
    # a few steps around it are then not refused, and an endless template has no more time.

    def _start_half(self) -> None:
        self._deadline = perf_counter() + MAX_SECONDS / 2
        self._cpu_deadline = thread_time() + MAX_SECONDS / 2

    def _end_half(self) -> None:
        self._halves -= 1
        if self._halves == 0:
            raise BoundExceeded(f"takes longer than {MAX_SECONDS} s")
        self._start_half()

    def _collected(self, values: Iterable[Any]) -> list[Any]:
        items: list[Any] = []
        for item in values:
            self.spend()
            items.append(item)
            afford(len(items) * ITEM)
        return items


def afford(amount: int) -> None:
    """Raises `BoundExceeded` if a value of this size would be too large."""
    if amount > MAX_SIZE:
        raise BoundExceeded(f"needs a value of {amount:,} characters; {MAX_SIZE:,} are the limit")


def size(value: Any) -> int:
    """Characters of the texts in `value`, and `ITEM` for each member of its collections.

    What is in it twice counts twice, since whoever walks or writes the value meets it twice.

    Raises:
        Refused: it is more than `MAX_SIZE`.
    """
    if isinstance(value, str):
        afford(len(value))
        return len(value)
    if not isinstance(value, COLLECTIONS):
        return 0
    total = 0
    stack: list[Any] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            total += len(item)
        elif isinstance(item, COLLECTIONS):
            total += len(item) * ITEM
            afford(total)  # before its members are looked at: there may be millions
            stack += item
            stack += item.values() if isinstance(item, Mapping) else ()
    afford(total)
    return total


def percent_size(template: str, values: Any) -> int:
    """At most how many characters `template % values` has.

    Raises:
        Refused: a width or precision is `*`, taken from the values.
    """
    if _STARRED.search(template):
        raise BoundExceeded("formats with a width of '*'; write the width as a number")
    widest = max((int(digits) for digits in _WIDTHS.findall(template) if digits), default=0)
    return len(template) + template.count("%") * (size(values) + widest + _NUMBER)


_READ_ONCE = (Iterator, ItemsView, KeysView, ValuesView)
# Linear on any text; the widths may include a number that is none, after a bracket or a dot.
_STARRED = re.compile(r"%[-+ #0-9.]*\*")
_WIDTHS = re.compile(r"[%).][-+ #0]*(\d{0,9})")
_NUMBER = 400  # the longest that a float is written by %f
