"""Waits until a rate allows a call: the rate of an agent or of a model, shared by all replicas.

A replica that is far from the limit takes in one go what it is likely to need until the slot ends,
so that most calls cost no round trip; what it did not need, it gives back with the next one.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from agentd.errors import Throttled
from agentd.manifest.rate import Allowance, Window

_JITTER = 1.0  # seconds, at most


class Book(Protocol):
    """Where a window is written down, for all who share it."""

    async def change(self, edit: Callable[[Window], Window]) -> None:
        """Makes the window what `edit` makes of it; `edit` may be called several times.

        Raises:
            BusError: it cannot be reached.
        """
        ...


class Notebook:
    """The book of a process that shares nothing."""

    def __init__(self) -> None:
        self._window = Window()

    async def change(self, edit: Callable[[Window], Window]) -> None:
        """See `Book`."""
        self._window = edit(self._window)


@dataclass(frozen=True)
class Taken:
    """An amount that a call may use, and the slot to which it counts."""

    slot: int
    amount: float


class SharedRate:
    """A rate as one process sees it. `name` is for people; `clock` gives seconds since the epoch.

    Calls that wait go in the order in which they came.
    """

    def __init__(
        self,
        allowance: Allowance,
        name: str,
        book: Callable[[], Book],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._allowance = allowance
        self._name = name
        self._book = book
        self._clock = clock
        self._turn = asyncio.Lock()
        self._waiting = 0.0  # what those who wait ask for, together
        self._window = Window()  # as it was at the last look
        self._slot = 0
        self._left = 0.0  # of what was taken for this slot
        self._used = self._used_before = 0.0  # in this slot, and in the one before
        self._corrections: dict[int, float] = {}  # to be told with the next change

    async def take(self, amount: float, timeout: float, model: str) -> Taken:
        """Takes `amount`, or the whole allowance where that is less.

        Raises:
            Throttled: it is not to be had within `timeout` seconds; `retry_after` says when.
            BusError: the other replicas' use is not known, and nothing was taken.
        """
        amount = min(amount, self._allowance.count)
        if not self._waiting and self._has(amount):
            return self._use(amount)
        wait = self._wait(amount + self._waiting)
        if wait > timeout:
            raise self._throttled(wait, model)
        self._waiting += amount
        try:
            async with asyncio.timeout(timeout):
                async with self._turn:
                    return await self._next(amount)
        except TimeoutError:
            wait = self._wait(self._waiting)
            raise self._throttled(wait, model) from None
        finally:
            self._waiting -= amount

    def settle(self, taken: Taken, used: float) -> None:
        """Tells what a call really used of what it took."""
        excess = used - taken.amount
        if excess <= 0 and taken.slot == self._slot:
            self._left -= excess
        elif excess:
            self._correct({taken.slot if excess < 0 else self._slot: excess})

    async def _next(self, amount: float) -> Taken:
        while not self._has(amount):
            taken = await self._reserve(amount)
            if taken:
                return taken
            # Not all of the wait at once: a call that took too much may give some back. And with
            # jitter, or the same replica would be the first one every time.
            slot = self._allowance.slot
            wait = min(self._wait(amount), slot)
            await asyncio.sleep(wait + min(slot * random.uniform(0.05, 0.25), _JITTER))
        return self._use(amount)

    async def _reserve(self, amount: float) -> Taken | None:
        """Takes `amount`, with what is left, and what else is likely to be needed in this slot."""
        told, self._corrections = self._corrections, {}
        slot, share = 0, 0.0

        def edit(window: Window) -> Window:
            nonlocal slot, share
            slot = self._turn_to(window.newest)
            self._window = window.since(slot).plus(told)
            room, missing = self._allowance.available(self._window), amount - self._left
            share = 0.0
            if room < missing:
                return window
            likely = max(self._waiting, self._used, self._used_before)
            # Half of the room is for the other replicas, unless that is too little for one call.
            share = max(missing, min(likely, room / 2))
            self._window = self._window.plus({slot: share})
            return self._window

        await self._book().change(edit)
        if not share:
            self._correct(told)
            return None
        if slot == self._slot:
            self._left += share - amount
            self._used += amount
        else:
            self._correct({slot: amount - share})
        return Taken(slot, amount)

    def _has(self, amount: float) -> bool:
        self._turn_to(0)
        return self._left >= amount

    def _use(self, amount: float) -> Taken:
        self._left -= amount
        self._used += amount
        return Taken(self._slot, amount)

    def _turn_to(self, newest: int) -> int:
        """The slot of this moment, by whichever clock is ahead; what is left of the last one is
        given back."""
        slot = max(self._allowance.slot_at(self._clock()), newest, self._slot)
        if slot > self._slot:
            if self._left:
                self._correct({self._slot: -self._left})
            self._used_before = self._used if slot == self._slot + 1 else 0.0
            self._slot, self._left, self._used = slot, 0.0, 0.0
        return slot

    def _correct(self, amounts: Mapping[int, float]) -> None:
        for slot, amount in amounts.items():
            self._corrections[slot] = self._corrections.get(slot, 0.0) + amount

    def _wait(self, amount: float) -> float:
        """The seconds until there is room for `amount`, as far as this process knows."""
        slot = self._turn_to(0)
        window = self._window.since(slot).plus(self._corrections)
        opens = self._allowance.available_at(window, amount - self._left)
        return max(0.0, opens - self._clock())

    def _throttled(self, wait: float, model: str) -> Throttled:
        return Throttled(
            f"{model}: {self._name} is {self._allowance}, and that is used up; "
            f"there is room in {wait:.3g} s",
            code="model_rate_limited",
            retryable=True,
            retry_after=max(wait, self._allowance.slot),
        )


class Rates:
    """The rates of one process; who asks for the same one shares it."""

    def __init__(self) -> None:
        self._books: Callable[[str, Allowance], Book] = lambda key, allowance: Notebook()
        self._open: dict[str, Book] = {}
        self._rates: dict[tuple[str, Allowance], SharedRate] = {}

    def share(self, books: Callable[[str, Allowance], Book]) -> None:
        """From now on all replicas share what `books(key, allowance)` opens for a key."""
        self._books = books
        self._open.clear()

    def of(self, key: str, allowance: Allowance, name: str) -> SharedRate:
        """The rate of `key`; `name` says whose it is, for people."""
        # Slots of another length are other slots, so they have a window of their own.
        key = f"{key}\n{allowance.period:g}"
        if (key, allowance) not in self._rates:
            book = partial(self._book, key, allowance)
            self._rates[key, allowance] = SharedRate(allowance, name, book)
        return self._rates[key, allowance]

    def _book(self, key: str, allowance: Allowance) -> Book:
        if key not in self._open:
            self._open[key] = self._books(key, allowance)
        return self._open[key]
