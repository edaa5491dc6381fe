"""How many calls at once an endpoint can take, learnt from its answers and refusals (AIMD).

Additive increase, multiplicative decrease, as in TCP: an answer raises the limit a little, a
refusal lowers it by 30 %, and answers that take much longer than usual lower it by 10 %. Replicas
that do not communicate arrive at equal shares of an endpoint in this way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

LEAST, MOST = 1.0, 10_000.0
# The limit starts at `MOST`, so an endpoint that refuses nothing is never slowed. The first cut
# starts from the calls in flight, but from this number at least: when a lone call is refused, that
# does not prove that the endpoint cannot take eleven.
CREDIBLE = 64
AFTER_REFUSAL, AFTER_DELAY = 0.7, 0.9
# The limit rises by one per round trip, and faster the longer there was no cut (twice as fast after
# `_CALM` seconds, and so on), so that it recovers soon after an outage.
_RISE, _CALM = 1.0, 10.0
# Near the limit at which the endpoint refused last, it rises this much more slowly. Most of the
# time the endpoint is then fully used, and refusals are rare.
_CAREFUL = 0.1

_WINDOW = 16  # answers over which a delay is judged
_DELAYED = 2.0  # times the median
_LEARNT = 20  # answers until the median can be relied on
_SMALLEST_STEP = 0.01

Kind = tuple[str, ...]


@dataclass
class _Median:
    """A running median: a value above it raises it by a step, one below lowers it by a step.

    It needs no history. The steps shrink as values arrive, but not below 1 %, so that it can follow
    a change within some hundred values.
    """

    value: float
    seen: int = 1

    def ratio(self, value: float) -> float:
        """`value` as a multiple of the median; then counts it."""
        ratio = value / self.value
        self.seen += 1
        step = 1 + max(_SMALLEST_STEP, 1 / self.seen)
        self.value = self.value * step if ratio > 1 else self.value / step
        return ratio


class Pace:
    """The limit of one endpoint; it starts at `most`. Times are seconds of any one clock."""

    def __init__(self, most: float = MOST) -> None:
        self.limit = self._most = most
        self._refused_at = math.inf  # the limit at which a call was refused last
        self._lowered_at = -math.inf  # when the limit was lowered last
        self._medians: dict[Kind, _Median] = {}
        self._delays: list[float] = []

    def answered(self, kind: Kind, began: float, now: float, in_flight: int) -> bool:
        """Counts a call that got its answer; True if its delay lowered the limit.

        Answers are compared with others of their `kind` (the same agent and model), because an
        agent that writes essays is slower than one that says yes or no.
        """
        if self._is_delayed(kind, began, now, in_flight):
            self._lower(AFTER_DELAY, now, in_flight)
            return True
        # Answers prove nothing about a limit that is mostly unused.
        if 2 * in_flight >= self.limit and self.limit < self._most:
            careful = _CAREFUL if abs(self._refused_at - self.limit) < 1 else 1.0
            rise = _RISE * (1 + (now - self._lowered_at) / _CALM) * careful
            # There are about `limit` answers in a round trip: 1/limit each is one per round trip.
            self.limit = min(self._most, self.limit + min(1.0, rise / self.limit))
        return False

    def refused(self, began: float, now: float, in_flight: int) -> bool:
        """Counts a call that was refused for overload; True if that lowered the limit.

        Only one refusal of a round trip counts. Calls that began before the last cut were made
        under the old limit, and a hundred of them would cut the new limit to nothing.
        """
        if began <= self._lowered_at:
            return False
        self._lower(AFTER_REFUSAL, now, in_flight)
        return True

    def _lower(self, factor: float, now: float, in_flight: int) -> None:
        self._refused_at = self._believed(in_flight)
        self.limit = max(LEAST, factor * self._refused_at)
        self._lowered_at = now

    def _believed(self, in_flight: int) -> float:
        return min(self.limit, max(in_flight, CREDIBLE))

    def _is_delayed(self, kind: Kind, began: float, now: float, in_flight: int) -> bool:
        """Whether this answer completes a window of late answers that our load may have caused."""
        took = max(now - began, 1e-6)
        median = self._medians.get(kind)
        if median is None:
            self._medians[kind] = _Median(took)
            return False
        ratio = median.ratio(took)
        if median.seen < _LEARNT or began <= self._lowered_at:
            return False
        self._delays.append(ratio)
        if len(self._delays) < _WINDOW:
            return False
        # The median of the window, not its mean: one answer that hung does not count as overload.
        typical = sorted(self._delays)[_WINDOW // 2]
        self._delays.clear()
        return typical > _DELAYED and 2 * in_flight >= self._believed(in_flight)
