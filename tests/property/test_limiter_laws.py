"""However calls end, the limiter keeps its number of slots, and agents take turns."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.errors import ModelError
from agentd.models.failures import Failures
from agentd.models.limits.concurrency import LONGEST_COOLDOWN, Limiter
from agentd.testing import virtual_time

FAILURES = Failures("openai/x")
TIMES = st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.5, 2.0, 5.0, 40.0])
ENDS = {
    "answer": None,
    "refused": FAILURES.error("model_rate_limited", "no", status=429),
    "wait": FAILURES.error("model_rate_limited", "wait", status=429, retry_after=3.0),
    "wait long": FAILURES.error("model_overloaded", "wait", status=503, retry_after=1e9),
    "broken": FAILURES.error("model_overloaded", "oops", status=500),
    "no connection": FAILURES.error("model_overloaded", "no connection"),
    "wrong": FAILURES.error("model_rejected", "what?", status=400),
    "late": FAILURES.error("model_timeout", "late"),
}
End = Literal[
    "answer", "refused", "wait", "wait long", "broken", "no connection", "wrong", "late", "bug"
]


@dataclass(frozen=True)
class Call:
    """One call: its agent, its times in seconds, and its end.

    `cancelled` is when its caller gives up, in seconds after its start.
    """

    agent: str
    at: float
    timeout: float
    takes: float
    end: End
    cancelled: float | None


CALLS = st.builds(
    Call,
    agent=st.sampled_from("abc"),
    at=TIMES,
    timeout=TIMES,
    takes=TIMES,
    end=st.sampled_from(End.__args__),
    cancelled=st.none() | TIMES,
)


class Checker:
    """Makes calls, and checks the laws while they run."""

    def __init__(self, most: int) -> None:
        self.limiter = Limiter("http://stub/v1", lambda *_: None, most=most)
        self.most = most
        self.running = 0
        self.cooldown_end = 0.0

    async def make(self, call: Call) -> None:
        await asyncio.sleep(call.at)
        task = asyncio.create_task(self._run(call))
        if call.cancelled is not None:
            asyncio.get_running_loop().call_later(call.cancelled, task.cancel)
        await asyncio.wait([task])
        if not task.cancelled():
            error = task.exception()
            assert error is None or isinstance(error, ModelError | ZeroDivisionError), error

    async def _run(self, call: Call) -> None:
        loop = asyncio.get_running_loop()
        called = loop.time()
        waited = await self.limiter.acquire(call.agent, call.timeout, "openai/x")
        try:
            began = loop.time()
            self.running += 1
            assert self.limiter.in_flight >= self.running
            assert self.running <= self.limiter.limit <= self.most
            assert began >= self.cooldown_end - 1e-6
            assert abs(called + waited - began) < 1e-6
            assert waited <= call.timeout + 1e-6
            await asyncio.sleep(call.takes)
            self._end(call, began)
        finally:
            self.running -= 1
            self.limiter.release()
        assert 1 <= self.limiter.limit <= self.most

    def _end(self, call: Call, began: float) -> None:
        if call.end == "bug":
            raise ZeroDivisionError
        error = ENDS[call.end]
        if error is None:
            self.limiter.answered((call.agent, "openai/x"), began)
            return
        if error.retry_after:
            now = asyncio.get_running_loop().time()
            until = now + min(error.retry_after, LONGEST_COOLDOWN)
            self.cooldown_end = max(self.cooldown_end, until)
        self.limiter.failed(error, began)
        raise error


@settings(max_examples=200)
@given(most=st.integers(1, 4), calls=st.lists(CALLS, max_size=25))
def test_the_number_of_slots_stays_the_same(most: int, calls: list[Call]) -> None:
    async def story() -> None:
        witness = Checker(most)
        await asyncio.gather(*(witness.make(call) for call in calls))
        limiter = witness.limiter
        assert (limiter.in_flight, limiter.waiting, witness.running) == (0, 0, 0)
        # After the longest cooldown, every slot can still be taken, and no more than that.
        await asyncio.sleep(LONGEST_COOLDOWN + 1)
        taken = [await limiter.acquire("d", 0.1, "openai/x") for _ in range(limiter.limit)]
        assert taken == [0.0] * limiter.limit
        with contextlib.suppress(ModelError):
            await limiter.acquire("d", 0.1, "openai/x")
            raise AssertionError("a slot too many")

    virtual_time.run(story)


@given(
    most=st.integers(1, 3),
    waiting=st.lists(st.sampled_from("abcd"), max_size=30),
    seconds=st.lists(st.floats(0.1, 3), min_size=30, max_size=30),
)
def test_agents_take_turns(most: int, waiting: list[str], seconds: list[float]) -> None:
    async def story() -> None:
        limiter = Limiter("http://stub/v1", lambda *_: None, most=most)
        order: list[tuple[str, int]] = []

        async def call(number: int, agent: str) -> None:
            await limiter.acquire(agent, 1e6, "openai/x")
            order.append((agent, number))
            await asyncio.sleep(seconds[number])
            limiter.release()

        for _ in range(most):
            await limiter.acquire("first", 1, "openai/x")
        calls = [asyncio.create_task(call(*each)) for each in enumerate(waiting)]
        await asyncio.sleep(0)
        for _ in range(most):
            limiter.release()
        await asyncio.gather(*calls)
        left, had = Counter(waiting), Counter[str]()
        for agent, _ in order:
            # While two agents wait, neither is more than one turn ahead of the other.
            assert all(had[agent] <= had[other] for other in +left if other != agent)
            left[agent] -= 1
            had[agent] += 1
        for agent in set(waiting):
            numbers = [number for who, number in order if who == agent]
            assert numbers == sorted(numbers)

    virtual_time.run(story)
