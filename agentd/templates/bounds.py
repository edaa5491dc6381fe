"""The limits of one rendering: CPU time, work, and the size of each value."""

from __future__ import annotations

import re
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from time import perf_counter, thread_time
from typing import Any

from agentd.errors import AgentdError

MAX_SECONDS = 0.25  # CPU time of one rendering
MAX_SIZE = 1_000_000  # of one value: its characters, and ITEM for each member of a collection
MAX_WORK = 32 * MAX_SIZE  # the sizes of all values and texts of one rendering, added up
MAX_BITS = 8_192  # of one whole number: Python's arithmetic has no limit of its own

ITEM = 16
SCAN = 64  # comparing this many characters takes about as long as making one

COLLECTIONS = (Mapping, list, tuple, set, frozenset)


class BoundExceeded(AgentdError):
    """A template does something that it may not do, or would exceed a limit."""


class Budget:
    """The time and the work that are left for one rendering."""

    __slots__ = ("_cpu_deadline", "_deadline", "_halves", "_left")

    def __init__(self) -> None:
        self._left = MAX_WORK
        self._halves = 2
        self._start_half()

    def spend(self, amount: int = 0) -> None:
        """Pays for one step that makes text or values of the size `amount`.

        Raises:
            BoundExceeded: the time or the work is used up.
        """
        self._left -= amount
        if self._left < 0:
            raise BoundExceeded(f"makes more than {MAX_WORK:,} characters in total")
        # Only the CPU time of this thread counts: the template is not to blame for a busy or
        # suspended machine. Reading that clock is a system call, so it is read only when the
        # cheap clock says that the time may be over.
        if perf_counter() > self._deadline and thread_time() > self._cpu_deadline:
            self._end_half()

    def charge(self, value: Any) -> Any:
        """Pays for a new value and returns it. An iterator or a view is returned as a list.

        Raises:
            BoundExceeded: the value is larger than `MAX_SIZE`, or the budget is used up.
        """
        # A lazy value costs nothing now and an unknown amount later, outside of any step.
        if isinstance(value, _READ_ONCE):
            value = self._collected(value)
        elif type(value) is int and value.bit_length() > MAX_BITS:
            raise BoundExceeded(f"makes a number of more than {MAX_BITS:,} bits")
        self.spend(size(value))
        return value

    # The time is given in two halves, because a garbage collection can take longer than all of it.
    # One long pause then uses up one half only, and an endless template still gets no more time.

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
            check_size(len(items) * ITEM)
        return items


def check_size(amount: int) -> None:
    """Raises `BoundExceeded` if `amount` is more than the size that a value may have."""
    if amount > MAX_SIZE:
        raise BoundExceeded(f"needs a value of {amount:,} characters; the limit is {MAX_SIZE:,}")


def size(value: Any) -> int:
    """The characters of all texts in `value`, and `ITEM` for each member of its collections.

    A part that occurs twice counts twice, because code that walks or writes the value also
    processes it twice. So a list that contains itself is too large.

    Raises:
        BoundExceeded: the size is more than `MAX_SIZE`.
    """
    if isinstance(value, str):
        check_size(len(value))
        return len(value)
    if not isinstance(value, COLLECTIONS):
        return 0
    total = 0
    # With a stack of our own, because a template can nest values deeper than Python can recurse.
    stack: list[Any] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            total += len(item)
        elif isinstance(item, COLLECTIONS):
            total += len(item) * ITEM
            check_size(total)  # before the members are added: there may be millions of them
            stack += item
            stack += item.values() if isinstance(item, Mapping) else ()
    check_size(total)
    return total


def percent_size(template: str, values: Any) -> int:
    """An upper bound of the characters of `template % values`.

    Raises:
        BoundExceeded: a width or a precision is `*`, so it would be taken from the values.
    """
    if _STARRED.search(template):
        raise BoundExceeded("formats with a width of '*'; write the width as a number")
    widest = max((int(digits) for digits in _WIDTHS.findall(template) if digits), default=0)
    return len(template) + template.count("%") * (size(values) + widest + _NUMBER)


_READ_ONCE = (Iterator, ItemsView, KeysView, ValuesView)
# Both patterns take linear time on any text. The second also finds numbers that are not widths,
# after a bracket or a dot; that only makes the estimate larger.
_STARRED = re.compile(r"%[-+ #0-9.]*\*")
_WIDTHS = re.compile(r"[%).][-+ #0]*(\d{0,9})")
_NUMBER = 400  # more characters than %f ever writes for a float without a width
