"""The slots of an endpoint: so many calls at once, agents in turn, and no call in a cooldown.

A cooldown begins when the endpoint asks for one (`Retry-After`, sent to this replica or to
another), and when several connections in a row have failed. After the second kind, one call at a
time is tried until one gets through.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable
from typing import Literal

from agentd.errors import ModelError, NotCalled
from agentd.models.failures import is_late
from agentd.models.limits.fair_queue import FairQueue, Waiter
from agentd.models.limits.pace import MOST, Kind, Pace

log = logging.getLogger(__name__)

LONGEST_COOLDOWN = 3600.0  # seconds; an endpoint that asks for more is called again after this
MAX_FAILURES = 3  # connections that fail in a row until calls are paused
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds, doubling, each with jitter
_CALM = 60.0  # seconds without a refusal until an endpoint counts as healthy again

Cause = Literal["retry_after", "announced", "unreachable"]
State = Literal["healthy", "slowed", "cooling_down", "unreachable"]

_OVERLOAD = ("model_rate_limited", "model_overloaded")
# Errors that can occur without any reply from the endpoint.
_WITHOUT_REPLY = ("model_overloaded", "model_timeout", "model_config")


class Limiter:
    """The slots of one endpoint, at most `most`. All times are of the event loop's clock.

    `name` is shown to people. `on_cooldown(cause, seconds, begins)` is called when a cooldown
    begins (`begins` is True) and when one is extended.
    """

    def __init__(
        self, name: str, on_cooldown: Callable[[Cause, float, bool], None], *, most: float = MOST
    ) -> None:
        self.name = name
        self.in_flight = 0
        self._on_cooldown = on_cooldown
        self._pace = Pace(most)
        self._queue = FairQueue()
        self._failures = 0  # connections that failed in a row
        self._cooldown_end = 0.0
        self._cooldown_timer: asyncio.TimerHandle | None = None
        self._paused_at = -math.inf  # when the last pause for failed connections began
        self._lowered_at = -math.inf  # when the limit was lowered last
        self._state: State = "healthy"

    @property
    def limit(self) -> int:
        """How many calls may run at once."""
        return 1 if self._failures >= MAX_FAILURES else int(self._pace.limit)

    @property
    def obstacle(self) -> str:
        """Why no call is made now; "" if calls are made."""
        if not self._cooldown_end:
            return ""
        unreachable = self._failures >= MAX_FAILURES
        return f"{self.name} {'cannot be reached' if unreachable else 'asked for a wait'}"

    @property
    def waiting(self) -> int:
        """How many calls wait for a slot."""
        return len(self._queue)

    async def acquire(self, agent: str, timeout: float, model: str) -> float:
        """Takes a slot, which `release` gives back; returns the seconds that this took.

        Raises:
            NotCalled: no slot was free within `timeout` seconds (`model_timeout`), or it is already
                known that none will be (`model_rate_limited`; `model_overloaded` if the endpoint
                cannot be reached). `retry_after` has the seconds until the cooldown ends.
        """
        now = asyncio.get_running_loop().time()
        # Nearly every call takes this path: no task switch, no timer, no future. A free slot is not
        # enough: calls that wait already come first.
        if not self._queue and self._has_room(now):
            self.in_flight += 1
            return 0.0
        if now + timeout <= self._cooldown_end:
            raise self._in_cooldown(now, model)
        waiter = Waiter(agent, now + timeout, asyncio.get_running_loop().create_future())
        try:
            async with asyncio.timeout_at(waiter.deadline):
                await self._wait(waiter)
        except TimeoutError:
            raise self._no_slot(timeout, model) from None
        waited = asyncio.get_running_loop().time() - now
        if not waiter.has_slot:
            raise self._in_cooldown(now + waited, model)
        if now + waited >= self._cooldown_end and self.in_flight <= self.limit:
            return waited
        # The loop ran other callbacks between `set_result` and this line. One of them reported a
        # refusal, so the slot is no longer valid: give it back and wait again.
        self.release()
        return waited + await self.acquire(agent, timeout - waited, model)

    def release(self) -> None:
        """Gives a slot back. Call it after `answered` or `failed`, which may change the limit."""
        self.in_flight -= 1
        self._admit()

    def answered(self, kind: Kind, began: float) -> None:
        """Reports that a call got its answer; see `Pace.answered`. `began` is the call's start."""
        now = asyncio.get_running_loop().time()
        self._reached()
        if self._pace.answered(kind, began, now, self.in_flight):
            self._slowed(now, "its answers take much longer than before")
        elif self._state == "slowed" and now - self._lowered_at >= _CALM:
            self._change("healthy", f"no refusal for {_CALM:g} s")

    def failed(self, error: ModelError, began: float) -> None:
        """Reports how a call failed. `began` is the call's start."""
        now = asyncio.get_running_loop().time()
        if error.status is not None or error.code not in _WITHOUT_REPLY:
            self._reached()
        # Not retryable: a 429 because the account has no money left. Fewer calls do not help.
        if error.code not in _OVERLOAD or not error.retryable:
            return
        if error.retry_after:
            self._cool_down(now, error.retry_after, "retry_after")
        if error.status is None and error.code == "model_overloaded":
            self._not_connected(began, now)
        elif self._pace.refused(began, now, self.in_flight):
            self._slowed(now, f"it refused a call ({error.status or error.code})")

    def cool_down(self, seconds: float) -> None:
        """Begins a cooldown that another replica has announced."""
        self._cool_down(asyncio.get_running_loop().time(), seconds, "announced")

    async def _wait(self, waiter: Waiter) -> None:
        self._queue.add(waiter)
        try:
            await waiter.turn
        except BaseException:
            self._queue.remove(waiter)
            # The slot may have been granted in the same iteration of the loop as the cancellation
            # or the timeout. Without this it would be lost permanently.
            if waiter.has_slot:
                self.release()
            raise

    def _has_room(self, now: float) -> bool:
        return self.in_flight < self.limit and now >= self._cooldown_end

    def _admit(self) -> None:
        """Gives free slots to waiting calls."""
        if not self._queue:
            return
        now = asyncio.get_running_loop().time()
        while self._queue and self._has_room(now):
            waiter = self._queue.pop()
            # Done already: cancelled, and its task has not run yet to leave the queue.
            if not waiter.turn.done():
                self.in_flight += 1
                waiter.turn.set_result(True)

    def _cool_down(self, now: float, seconds: float, cause: Cause) -> None:
        end = now + min(seconds, LONGEST_COOLDOWN)
        if end <= self._cooldown_end:
            return
        begins = self._cooldown_timer is None
        if self._cooldown_timer:
            self._cooldown_timer.cancel()
        self._cooldown_end = end
        self._cooldown_timer = asyncio.get_running_loop().call_at(end, self._end_cooldown)
        self._on_cooldown(cause, end - now, begins)
        if cause != "unreachable":
            whom = "another replica" if cause == "announced" else "agentd"
            self._change("cooling_down", f"asked {whom} to wait; no calls for {end - now:.3g} s")
        # These would time out in the cooldown. If they fail now, another model can be tried.
        for waiter in self._queue.pop_expiring(end):
            if not waiter.turn.done():
                waiter.turn.set_result(False)

    def _end_cooldown(self) -> None:
        # Set to 0, not compared with the clock: a timer may fire some nanoseconds early, and then
        # `_admit` would see a cooldown that has not ended, and nothing would call it again.
        self._cooldown_end, self._cooldown_timer = 0.0, None
        if self._state == "cooling_down":
            self._change("healthy", f"the wait is over; at most {self.limit} calls at once")
        self._admit()

    def _not_connected(self, began: float, now: float) -> None:
        """Counts a failed connection, and pauses the calls after several in a row.

        Calls that began before the last pause do not count: they are from the same outage, and
        each of them would double the pause.
        """
        if began <= self._paused_at or is_late(now - began):
            return
        self._failures += 1
        if self._failures < MAX_FAILURES:
            return
        self._paused_at = now
        # Bounded before the power is taken: after an outage of hours it would overflow a float.
        doublings = min(self._failures - MAX_FAILURES, 10)
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2**doublings)
        # With jitter, so that replicas that lost the endpoint together do not return together.
        self._cool_down(now, longest * random.uniform(0.5, 1), "unreachable")
        self._change("unreachable", "cannot be reached; trying one call at a time")

    def _reached(self) -> None:
        self._failures = 0
        if self._state == "unreachable":
            self._change("healthy", "can be reached again")

    def _slowed(self, now: float, why: str) -> None:
        self._lowered_at = now
        if self._state == "healthy":
            self._change("slowed", f"at most {self.limit} calls at once from now on: {why}")

    def _change(self, state: State, text: str) -> None:
        """Logs a change of the state, once, however many calls notice it."""
        if state != self._state:
            self._state = state
            level = logging.INFO if state == "healthy" else logging.WARNING
            log.log(level, "%s: %s", self.name, text, extra={"waiting": self.waiting})

    def _no_slot(self, timeout: float, model: str) -> NotCalled:
        return NotCalled(
            f"{model}: waited {timeout:.3g} s for a slot of {self.name}, where {self.in_flight} of "
            f"at most {self.limit} calls are running; allow more time or run fewer tasks at once",
            code="model_timeout",
            retryable=True,
        )

    def _in_cooldown(self, now: float, model: str) -> NotCalled:
        seconds = max(0.0, self._cooldown_end - now)
        unreachable = self._failures >= MAX_FAILURES
        return NotCalled(
            f"{model}: {self.obstacle}; agentd calls it again in {seconds:.3g} s",
            code="model_overloaded" if unreachable else "model_rate_limited",
            retryable=True,
            retry_after=seconds,
        )
