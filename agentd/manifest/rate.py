"""So much of something in so much time, whoever uses it: the arithmetic.

Time is cut into slots, 20 to the period. What is taken in a slot may be used until the slot ends,
and counts until the whole period has passed since then. So in no period, wherever it begins, is
more used than allowed, and all of it may be used at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

SLOTS = 20
_UNITS = {1.0: "s", 60.0: "min", 3600.0: "h", 86400.0: "day"}


@dataclass(frozen=True)
class Allowance:
    """`count` in any `period` of so many seconds: 60 in 60.0 for `60/min`."""

    count: int
    period: float

    def __str__(self) -> str:
        unit = _UNITS.get(self.period, f"{self.period:g} s")
        return f"{self.count:,}/{unit}"

    @property
    def slot(self) -> float:
        """The seconds of one slot."""
        return self.period / SLOTS

    def slot_at(self, now: float) -> int:
        """The number of the slot that `now` is in, in seconds since the epoch."""
        return int(now / self.slot)

    def available(self, window: Window) -> float:
        """How much may be taken, of a window that is up to date."""
        return max(0.0, self.count - window.total)

    def available_at(self, window: Window, amount: float) -> float:
        """When there will be room for `amount`, in seconds since the epoch; 0 if there is now."""
        missing = min(amount, self.count) - self.available(window)
        for slot, used in sorted(window.used.items()):
            if missing <= 0:
                break
            missing -= used
            if missing <= 0:
                return (slot + SLOTS + 1) * self.slot
        return 0.0


@dataclass(frozen=True)
class Window:
    """What was taken lately: amounts by the number of their slot."""

    used: Mapping[int, float] = field(default_factory=dict[int, float])

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """What `dump` wrote; nothing taken, of no bytes."""
        raw: dict[str, Any] = json.loads(data) if data else {}
        return cls({int(slot): float(used) for slot, used in raw.items()})

    def dump(self) -> bytes:
        """`{slot: amount}`."""
        return json.dumps(self.used).encode()

    @property
    def total(self) -> float:
        """All that still counts."""
        return sum(self.used.values())

    @property
    def newest(self) -> int:
        """The last slot in which something was taken, perhaps by a clock that is ahead."""
        return max(self.used, default=0)

    def since(self, slot: int) -> Window:
        """This window at `slot`: without what counts no more."""
        return Window({each: used for each, used in self.used.items() if each >= slot - SLOTS})

    def plus(self, amounts: Mapping[int, float]) -> Window:
        """With these amounts added to slots, or given back where they are below 0. What belongs to
        a slot that counts no more is dropped."""
        sums = dict(self.used)
        for slot, amount in amounts.items():
            if slot in sums or amount > 0:
                sums[slot] = sums.get(slot, 0.0) + amount
        return Window({slot: used for slot, used in sums.items() if used > 0})
