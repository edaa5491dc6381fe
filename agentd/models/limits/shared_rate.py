"""Waits until a rate allows a call: the rate of an agent or of a model, shared by all replicas.

A replica that is far from the limit reserves in one request what it is likely to need until the
slot ends, so most calls need no round trip. It returns what it did not use with the next request.
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


class WindowStore(Protocol):
    """Where the window of a rate is stored, for all replicas that share the rate."""

    async def change(self, edit: Callable[[Window], Window]) -> None:
        """Replaces the window by `edit(window)`.

        `edit` may be called several times, because another replica may change the window between
        the read and the write; only its last call counts.

        Raises:
            BusError: the store cannot be reached.
        """
        ...


class LocalWindow:
    """The store of a process that shares nothing."""

    def __init__(self) -> None:
        self._window = Window()

    async def change(self, edit: Callable[[Window], Window]) -> None:
        """See `WindowStore`."""
        self._window = edit(self._window)


@dataclass(frozen=True)
class Reservation:
    """An amount that a call may use, and the slot of time in which it counts."""

    slot: int
    amount: float


class SharedRate:
    """A rate as one process sees it. Waiting calls get their turn in the order of arrival.

    `name` says in errors which field of the manifest the rate is from; `clock` gives seconds since
    the epoch, because the slots must be the same on all replicas.
    """

    def __init__(
        self,
        allowance: Allowance,
        name: str,
        store: Callable[[], WindowStore],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._allowance = allowance
        self._name = name
        self._store = store
        self._clock = clock
        self._turn = asyncio.Lock()
        self._waiting = 0.0  # the amounts of all waiting calls together
        self._window = Window()  # as it was when it was last read
        self._slot = 0
        self._left = 0.0  # reserved for this slot and not used yet
        self._used = self._used_before = 0.0  # in this slot, and in the one before
        self._corrections: dict[int, float] = {}  # to be stored with the next change

    async def take(self, amount: float, timeout: float, model: str) -> Reservation:
        """Reserves `amount`, or the whole allowance if that is less.

        Raises:
            Throttled: there is no room within `timeout` seconds; `retry_after` says when.
            BusError: the other replicas' use is not known; nothing was reserved.
        """
        # An amount over the allowance would never fit.
        amount = min(amount, self._allowance.count)
        if not self._waiting and self._has(amount):
            return self._use(amount)
        wait = self._wait(amount + self._waiting)
        if wait > timeout:
            raise self._throttled(wait, model)
        self._waiting += amount
        try:
            async with asyncio.timeout(timeout):
                # The lock is fair, which keeps the order of arrival.
                async with self._turn:
                    return await self._next(amount)
        except TimeoutError:
            wait = self._wait(self._waiting)
            raise self._throttled(wait, model) from None
        finally:
            self._waiting -= amount

    def settle(self, reservation: Reservation, used: float) -> None:
        """Replaces the reserved amount by what the call really used."""
        self._turn_to(0)
        excess = used - reservation.amount
        if excess <= 0 and reservation.slot == self._slot:
            self._left -= excess
        elif excess:
            # Less than reserved: the old slot gets it back. More: it counts from now on, since the
            # provider counted it when the answer was complete.
            self._correct({reservation.slot if excess < 0 else self._slot: excess})

    async def _next(self, amount: float) -> Reservation:
        while not self._has(amount):
            reservation = await self._reserve(amount)
            if reservation:
                return reservation
            # At most one slot, not the whole wait: a call that reserved too much may return some.
            # With jitter, or the same replica would be the first one every time.
            slot = self._allowance.slot
            wait = min(self._wait(amount), slot)
            await asyncio.sleep(wait + min(slot * random.uniform(0.05, 0.25), _JITTER))
        return self._use(amount)

    async def _reserve(self, amount: float) -> Reservation | None:
        """Reserves `amount` less what is left, and what else is likely to be needed in this slot.

        None if there is no room.
        """
        # Taken out before the request, because `settle` may add others while it is under way. If
        # the request fails they are lost: it may have been stored all the same, and a correction
        # that is stored twice would let too many calls through.
        corrections, self._corrections = self._corrections, {}
        slot, share = 0, 0.0

        def edit(window: Window) -> Window:
            # May run several times: it must set everything anew, and change nothing of `self` that
            # a second run would change again.
            nonlocal slot, share
            slot = self._turn_to(window.newest)
            self._window = window.since(slot).plus(corrections)
            room, missing = self._allowance.available(self._window), amount - self._left
            share = 0.0
            if room < missing:
                return window
            likely = max(self._waiting, self._used, self._used_before)
            # Half of the room is left to the other replicas, unless one call needs more than that.
            share = max(missing, min(likely, room / 2))
            self._window = self._window.plus({slot: share})
            return self._window

        await self._store().change(edit)
        if not share:
            self._correct(corrections)
            return None
        if slot == self._slot:
            self._left += share - amount
            self._used += amount
        else:
            # The slot ended during the request: what was reserved beyond the call is of no use.
            self._correct({slot: amount - share})
        return Reservation(slot, amount)

    def _has(self, amount: float) -> bool:
        self._turn_to(0)
        return self._left >= amount

    def _use(self, amount: float) -> Reservation:
        self._left -= amount
        self._used += amount
        return Reservation(self._slot, amount)

    def _turn_to(self, newest: int) -> int:
        """The current slot; returns what is left of the last one when a new slot begins.

        The slot is that of whichever clock is ahead, here or at another replica. So the slot never
        goes back, and replicas whose clocks differ agree on it.
        """
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
            f"{model}: `{self._name}: {self._allowance}` is used up; the next call is possible in "
            f"{wait:.3g} s",
            code="model_rate_limited",
            retryable=True,
            retry_after=max(wait, self._allowance.slot),
        )


class Rates:
    """The rates of one process; those with the same key and allowance are one object."""

    def __init__(self) -> None:
        self._open_store: Callable[[str, Allowance], WindowStore] = lambda *_: LocalWindow()
        self._stores: dict[str, WindowStore] = {}
        self._rates: dict[tuple[str, Allowance], SharedRate] = {}

    def share(self, open_store: Callable[[str, Allowance], WindowStore]) -> None:
        """Makes all replicas share the window that `open_store(key, allowance)` opens for a key."""
        self._open_store = open_store
        self._stores.clear()

    def of(self, key: str, allowance: Allowance, name: str) -> SharedRate:
        """The rate of `key`; errors call it `name`."""
        # Slots of different lengths cannot be counted in one window.
        key = f"{key}\n{allowance.period:g}"
        if (key, allowance) not in self._rates:
            # A function, not the store itself: `share` may come after this rate was made.
            store = partial(self._store, key, allowance)
            self._rates[key, allowance] = SharedRate(allowance, name, store)
        return self._rates[key, allowance]

    def _store(self, key: str, allowance: Allowance) -> WindowStore:
        if key not in self._stores:
            self._stores[key] = self._open_store(key, allowance)
        return self._stores[key]
