"""Who may call an endpoint now: so many at once, fair between agents, nobody while it rests.

An endpoint rests when it asked for it (`Retry-After`, here or at another replica), and for a while
after it could not be reached several times in a row; then one call at a time is tried.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable
from typing import Literal

from agentd.errors import ModelError, NotCalled
from agentd.models.limits.fair_queue import FairQueue, Waiter
from agentd.models.limits.pace import MOST, Kind, Pace

log = logging.getLogger(__name__)

LONGEST_REST = 3600.0  # seconds; who asks for more is asked again then
MISSES = 3  # connections that fail in a row until it is left alone
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds, doubling, each with jitter
_CALM = 60.0  # seconds without a refusal until an endpoint counts as well again

STALLED = 15.0  # seconds; whether there is a connection is known after 10
Cause = Literal["retry_after", "announced", "unreachable"]
State = Literal["well", "slowed", "resting", "unreachable"]

_OVERLOAD = ("model_rate_limited", "model_overloaded")
# These may come about without a word from the endpoint.
_SILENT = ("model_overloaded", "model_timeout", "model_config")


class Limiter:
    """The slots of one endpoint, `most` at most. `name` is for people; the clock is the event
    loop's.

    `on_rest(cause, seconds, begins)` hears of each rest that begins, or grows longer.
    """

    def __init__(
        self, name: str, on_rest: Callable[[Cause, float, bool], None], *, most: float = MOST
    ) -> None:
        self.name = name
        self.in_flight = 0
        self._on_rest = on_rest
        self._pace = Pace(most)
        self._turns = FairQueue()
        self._misses = 0
        self._opens = 0.0  # nobody calls before
        self._opening: asyncio.TimerHandle | None = None
        self._paused = -math.inf  # when it could not be reached last
        self._lowered = -math.inf  # when the limit was
        self._state: State = "well"

    @property
    def limit(self) -> int:
        """How many may call at once."""
        return 1 if self._misses >= MISSES else int(self._pace.limit)

    @property
    def waiting(self) -> int:
        """How many calls wait for a slot."""
        return len(self._turns)

    async def enter(self, agent: str, timeout: float, model: str) -> float:
        """Takes a slot, to be given back with `leave`; returns the seconds that it took.

        Raises:
            NotCalled: there was none within `timeout` seconds (`model_timeout`), or it is known
                already that there will be none (`model_rate_limited`, or `model_overloaded` when
                the endpoint cannot be reached), with the seconds to wait in `retry_after`.
        """
        now = asyncio.get_running_loop().time()
        if not self._turns and self._has_room(now):
            self.in_flight += 1
            return 0.0
        if now + timeout <= self._opens:
            raise self._closed(now, model)
        waiter = Waiter(agent, now + timeout, asyncio.get_running_loop().create_future())
        try:
            async with asyncio.timeout_at(waiter.deadline):
                await self._wait(waiter)
        except TimeoutError:
            raise self._late(timeout, model) from None
        waited = asyncio.get_running_loop().time() - now
        if not waiter.has_slot:
            raise self._closed(now + waited, model)
        if now + waited >= self._opens and self.in_flight <= self.limit:
            return waited
        # Between the slot and this moment a call came back with a refusal.
        self.leave()
        return waited + await self.enter(agent, timeout - waited, model)

    def leave(self) -> None:
        """Gives a slot back, after the call's end was told."""
        self.in_flight -= 1
        self._admit()

    def answered(self, kind: Kind, began: float) -> None:
        """Tells that a call came to its answer; see `Pace.answered`. `began` is its start."""
        now = asyncio.get_running_loop().time()
        self._reached()
        if self._pace.answered(kind, began, now, self.in_flight):
            self._slowed(now, "its answers take far longer than they did")
        elif self._state == "slowed" and now - self._lowered >= _CALM:
            self._say("well", "refuses nothing any more")

    def failed(self, error: ModelError, began: float) -> None:
        """Tells how a call failed."""
        now = asyncio.get_running_loop().time()
        if error.status is not None or error.code not in _SILENT:
            self._reached()
        if error.code not in _OVERLOAD or not error.retryable:
            return
        if error.retry_after:
            self._rest(now, error.retry_after, "retry_after")
        if error.status is None and error.code == "model_overloaded":
            self._missed(began, now)
        elif self._pace.refused(began, now, self.in_flight):
            self._slowed(now, f"it refused one ({error.status or error.code})")

    def rest(self, seconds: float) -> None:
        """Leaves the endpoint alone, because another replica was asked to."""
        self._rest(asyncio.get_running_loop().time(), seconds, "announced")

    async def _wait(self, waiter: Waiter) -> None:
        self._turns.join(waiter)
        try:
            await waiter.turn
        except BaseException:
            # The slot may have come in the same moment as the cancellation.
            self._turns.leave(waiter)
            if waiter.has_slot:
                self.leave()
            raise

    def _has_room(self, now: float) -> bool:
        return self.in_flight < self.limit and now >= self._opens

    def _admit(self) -> None:
        """Gives free slots to those who wait."""
        if not self._turns:
            return
        now = asyncio.get_running_loop().time()
        while self._turns and self._has_room(now):
            waiter = self._turns.next()
            if not waiter.turn.done():
                self.in_flight += 1
                waiter.turn.set_result(True)

    def _rest(self, now: float, seconds: float, cause: Cause) -> None:
        opens = now + min(seconds, LONGEST_REST)
        if opens <= self._opens:
            return
        begins = self._opening is None
        if self._opening:
            self._opening.cancel()
        self._opens = opens
        self._opening = asyncio.get_running_loop().call_at(opens, self._open)
        self._on_rest(cause, opens - now, begins)
        if cause != "unreachable":
            who = "another replica" if cause == "announced" else "us"
            self._say("resting", f"asked {who} to wait {opens - now:.3g} s")
        for waiter in self._turns.hopeless(opens):
            if not waiter.turn.done():
                waiter.turn.set_result(False)

    def _open(self) -> None:
        # A timer may fire some nanoseconds early, and nobody would look again.
        self._opens, self._opening = 0.0, None
        if self._state == "resting":
            self._say("well", f"is called again, {self.limit} at once")
        self._admit()

    def _missed(self, began: float, now: float) -> None:
        """No connection. Calls from before the last pause knew no better, and count for nothing; as
        do those that learnt it so late that our own event loop must have stood still."""
        if began <= self._paused or now - began > STALLED:
            return
        self._misses += 1
        if self._misses < MISSES:
            return
        self._paused = now
        # Bounded before it is multiplied: an outage of hours would make it too large for a float.
        doublings = min(self._misses - MISSES, 10)
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2**doublings)
        # With jitter: replicas that lost it together do not come back together.
        self._rest(now, longest * random.uniform(0.5, 1), "unreachable")
        self._say("unreachable", "cannot be reached; one call at a time is tried")

    def _reached(self) -> None:
        self._misses = 0
        if self._state == "unreachable":
            self._say("well", "can be reached again")

    def _slowed(self, now: float, why: str) -> None:
        self._lowered = now
        if self._state == "well":
            self._say("slowed", f"gets {self.limit} calls at once from now on: {why}")

    def _say(self, state: State, what: str) -> None:
        """Once for each change, however many calls notice it."""
        if state != self._state:
            self._state = state
            level = logging.INFO if state == "well" else logging.WARNING
            log.log(level, "%s %s", self.name, what, extra={"waiting": self.waiting})

    def _late(self, timeout: float, model: str) -> NotCalled:
        return NotCalled(
            f"{model}: waited {timeout:.3g} s for a slot: {self.name} has "
            f"{self.in_flight} of {self.limit} calls under way",
            code="model_timeout",
            retryable=True,
        )

    def _closed(self, now: float, model: str) -> NotCalled:
        seconds = max(0.0, self._opens - now)
        away = self._misses >= MISSES
        why = "cannot be reached" if away else "asked to wait"
        return NotCalled(
            f"{model}: {self.name} {why}; it is called again in {seconds:.3g} s",
            code="model_overloaded" if away else "model_rate_limited",
            retryable=True,
            retry_after=seconds,
        )
