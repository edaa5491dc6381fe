"""Rates, such as 60 calls per minute: how much is available in a sliding window of time.

The period is divided into 20 slots. An amount that is taken in a slot may be used until the slot
ends, and it counts until a whole period has passed after that end. So no period, wherever it
starts, has more than the allowed amount, and the whole amount may still be used in one burst.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from agentd.protocol.shape import Shape

SLOTS = 20  # in one period
# More slots than a window ever has: those of a period, and some of replicas whose clocks differ.
_stored: Shape[dict[int, float]] = Shape(dict[int, float], most=16 * 1024)
_UNITS = {1.0: "s", 60.0: "min", 3600.0: "h", 86400.0: "day"}


@dataclass(frozen=True)
class Allowance:
    """A rate: at most `count` in any `period` (seconds). `60/min` is 60 in 60.0."""

    count: int
    period: float

    def __str__(self) -> str:
        unit = _UNITS.get(self.period, f"{self.period:g} s")
        return f"{self.count:,}/{unit}"

    @property
    def slot(self) -> float:
        """The length of one slot, in seconds."""
        return self.period / SLOTS

    def slot_at(self, now: float) -> int:
        """The number of the slot that contains `now` (seconds since the epoch)."""
        return int(now / self.slot)

    def available(self, window: Window) -> float:
        """The amount that may be taken now; `window` must be up to date (see `Window.since`)."""
        return max(0.0, self.count - window.total)

    def available_at(self, window: Window, amount: float) -> float:
        """When `amount` will be available, in seconds since the epoch; 0 if it is available now."""
        # More than `count` never fits into one period; such an amount waits for an empty window.
        missing = min(amount, self.count) - self.available(window)
        for slot, used in sorted(window.used.items()):
            if missing <= 0:
                break
            missing -= used
            if missing <= 0:
                # One more slot: an amount of this slot may have been used at the end of the slot.
                return (slot + SLOTS + 1) * self.slot
        return 0.0


@dataclass(frozen=True)
class Window:
    """The amounts taken recently, by the number of their slot."""

    used: Mapping[int, float] = field(default_factory=dict[int, float])

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The window that `dump` wrote; an empty one if `data` is empty.

        Raises:
            DecodeError: `dump` did not write it.
        """
        return cls(_stored.parse(data) if data else {})

    def dump(self) -> bytes:
        """The window as JSON: `{slot: amount}`."""
        return json.dumps(self.used).encode()

    @property
    def total(self) -> float:
        """The sum of all amounts."""
        return sum(self.used.values())

    @property
    def newest(self) -> int:
        """The last slot with an amount. It may lie in the future: clocks of replicas differ."""
        return max(self.used, default=0)

    def since(self, slot: int) -> Window:
        """The window at `slot`, without the amounts that no longer count."""
        return Window({each: used for each, used in self.used.items() if each >= slot - SLOTS})

    def plus(self, amounts: Mapping[int, float]) -> Window:
        """The window with these amounts added to its slots; a negative amount is given back.

        A negative amount for a slot that no longer counts is dropped.
        """
        sums = dict(self.used)
        for slot, amount in amounts.items():
            if slot in sums or amount > 0:
                sums[slot] = sums.get(slot, 0.0) + amount
        return Window({slot: used for slot, used in sums.items() if used > 0})
