"""How many calls at once an endpoint bears, learnt from what becomes of them.

Additive increase, multiplicative decrease, as TCP shares a line: an answer raises the limit a
little, a refusal lowers it by 30 %, and answers that take far longer than such answers took
lately lower it by 10 %. Replicas that know nothing of one another come to even shares this way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

LEAST, MOST = 1.0, 10_000.0
# An endpoint that has refused nothing is not slowed. The first cut starts from what was under way,
# or from this where that is less: one refusal of a lone call is no proof against eleven.
CREDIBLE = 64
AFTER_REFUSAL, AFTER_DELAY = 0.7, 0.9
# Calls more for each round trip, twice that after so many seconds without a cut, and so on: after
# an outage the limit is soon where it was.
_RISE, _CALM = 1.0, 10.0
# Where the endpoint refused last, the limit is tried out this much more slowly; so most answers
# come at the most that it bears, and refusals are few.
_CAREFUL = 0.1

_WINDOW = 16  # answers by which a delay is judged
_DELAYED = 2.0  # times the median
_LEARNT = 20  # answers until a median is worth something
_SLOWEST_STEP = 0.01

Kind = tuple[str, ...]


@dataclass
class _Median:
    """A running median: a step up for each value above it, down for each below. The steps grow
    small, but never so small that it cannot follow in some hundred values."""

    value: float
    seen: int = 1

    def ratio(self, value: float) -> float:
        """How many times the median `value` is; then counts it."""
        ratio = value / self.value
        self.seen += 1
        step = 1 + max(_SLOWEST_STEP, 1 / self.seen)
        self.value = self.value * step if ratio > 1 else self.value / step
        return ratio


class Pace:
    """The limit of one endpoint, which begins at `most`. Times are in seconds of any one clock."""

    def __init__(self, most: float = MOST) -> None:
        self.limit = self._most = most
        self._refused_at = math.inf  # the limit at which a call was refused last
        self._lowered = -math.inf
        self._medians: dict[Kind, _Median] = {}
        self._delays: list[float] = []

    def answered(self, kind: Kind, began: float, now: float, in_flight: int) -> bool:
        """A call came to its answer; True if the limit was lowered, because it took so long.

        Answers are compared with those of their `kind` (an agent's, of a model): one agent's
        essays say nothing about another's yes or no.
        """
        if self._is_delayed(kind, began, now, in_flight):
            self._lower(AFTER_DELAY, now, in_flight)
            return True
        # A limit that is not made use of is not tried out either.
        if 2 * in_flight >= self.limit and self.limit < self._most:
            careful = _CAREFUL if abs(self._refused_at - self.limit) < 1 else 1.0
            rise = _RISE * (1 + (now - self._lowered) / _CALM) * careful
            self.limit = min(self._most, self.limit + min(1.0, rise / self.limit))
        return False

    def refused(self, began: float, now: float, in_flight: int) -> bool:
        """A call was refused because there are too many; True if that lowered the limit.

        It does so once a round trip: a call from before the last cut says nothing about it.
        """
        if began <= self._lowered:
            return False
        self._lower(AFTER_REFUSAL, now, in_flight)
        return True

    def _lower(self, factor: float, now: float, in_flight: int) -> None:
        self._refused_at = self._believed(in_flight)
        self.limit = max(LEAST, factor * self._refused_at)
        self._lowered = now

    def _believed(self, in_flight: int) -> float:
        return min(self.limit, max(in_flight, CREDIBLE))

    def _is_delayed(self, kind: Kind, began: float, now: float, in_flight: int) -> bool:
        """Whether this answer completes a window of late ones, at a load that may be the cause."""
        took = max(now - began, 1e-6)
        median = self._medians.get(kind)
        if median is None:
            self._medians[kind] = _Median(took)
            return False
        ratio = median.ratio(took)
        if median.seen < _LEARNT or began <= self._lowered:
            return False
        self._delays.append(ratio)
        if len(self._delays) < _WINDOW:
            return False
        typical = sorted(self._delays)[_WINDOW // 2]
        self._delays.clear()
        return typical > _DELAYED and 2 * in_flight >= self._believed(in_flight)
