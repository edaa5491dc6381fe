"""Replicas that share a rate never exceed it in any period, and every call gets its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.errors import Throttled
from agentd.manifest.rate import SLOTS, Allowance, Window
from agentd.models.limits.shared_rate import SharedRate
from agentd.testing import virtual_time

TIMES = st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.9, 3.0, 3.1, 10.0, 31.0, 59.9, 60.0, 64.0, 125.0])


@dataclass(frozen=True)
class Call:
    """One call: its replica, its time, what it reserves, and the part of that which it uses."""

    replica: int
    at: float
    amount: int
    used: float


CALLS = st.lists(
    st.builds(
        Call,
        replica=st.integers(0, 2),
        at=TIMES,
        amount=st.integers(1, 4),
        used=st.sampled_from([0.0, 0.5, 1.0]),
    ),
    max_size=60,
)


class SlowStore:
    """The shared window of several replicas. Each change takes `latency` seconds.

    As with compare-and-set, the first window that `edit` receives may be outdated; then it is
    called again.
    """

    def __init__(self, latency: float) -> None:
        self.window = Window()
        self.latency = latency
        self.changes = 0

    async def change(self, edit: Callable[[Window], Window]) -> None:
        self.changes += 1
        before = self.window
        edit(before)
        await asyncio.sleep(self.latency)
        self.window = edit(self.window)


@dataclass(frozen=True)
class Use:
    at: float
    amount: float


async def play(
    allowance: Allowance, calls: Sequence[Call], store: SlowStore, timeout: float
) -> list[Use]:
    """The amounts that were used, with their times. Refused calls are left out."""
    loop = asyncio.get_running_loop()
    rates = [SharedRate(allowance, "limits.rate", lambda: store, clock=loop.time) for _ in range(3)]
    uses: list[Use] = []
    waits: list[float] = []

    async def make(call: Call) -> None:
        await asyncio.sleep(call.at)
        rate = rates[call.replica]
        try:
            taken = await rate.take(call.amount, timeout, "m")
        except Throttled as error:
            waits.append(error.retry_after or 0.0)
            return
        uses.append(Use(loop.time(), taken.amount * call.used))
        rate.settle(taken, taken.amount * call.used)

    await asyncio.gather(*map(make, calls))
    assert all(waits)  # every refusal says how long to wait
    return sorted(uses, key=lambda use: use.at)


@given(CALLS, st.integers(1, 30), st.sampled_from([0.0, 0.01, 0.2]))
def test_no_period_has_more_than_the_rate_allows(
    calls: list[Call], count: int, latency: float
) -> None:
    allowance = Allowance(count, 60.0)
    uses = virtual_time.run(lambda: play(allowance, calls, SlowStore(latency), 1e6))
    assert len(uses) == len(calls)  # no call is missing
    for first in uses:
        window = [use.amount for use in uses if first.at <= use.at < first.at + 60.0]
        assert sum(window) <= count + 1e-6


@given(CALLS, st.sampled_from([0.5, 5.0, 40.0]))
def test_a_refusal_says_when_there_is_room(calls: list[Call], timeout: float) -> None:
    allowance = Allowance(5, 60.0)
    uses = virtual_time.run(lambda: play(allowance, calls, SlowStore(0.01), timeout))
    assert len(uses) <= len(calls)


@settings(max_examples=25)
@given(st.integers(1, 200), st.integers(2, 30))
def test_a_queue_moves_at_the_rate_with_few_requests(waiting: int, count: int) -> None:
    allowance, store = Allowance(count, 60.0), SlowStore(0.01)
    calls = [Call(number % 3, 0.0, 1, 1.0) for number in range(waiting)]
    uses = virtual_time.run(lambda: play(allowance, calls, store, 1e6))
    periods = (waiting - 1) // count
    # A period and one slot for each allowance, and some jitter.
    assert uses[-1].at <= (periods + 1) * 60.0 * (1 + 2 / SLOTS)
    # Each of the three replicas makes a few requests per slot, however many calls wait.
    assert store.changes <= 3 * (5 * (periods + 2) * (SLOTS + 2) + waiting)


def test_far_from_the_limit_most_calls_need_no_request() -> None:
    store = SlowStore(0.001)
    calls = [Call(0, number / 100, 1, 1.0) for number in range(3000)]
    uses = virtual_time.run(lambda: play(Allowance(60_000, 60.0), calls, store, 10.0))
    assert len(uses) == 3000
    assert store.changes < 300


def test_an_amount_that_one_replica_returns_is_free_for_another() -> None:
    store = SlowStore(0.0)
    early = [Call(0, 0.0, 1, 1.0) for _ in range(4)]
    late = [Call(number % 2, 10.0 + number, 1, 1.0) for number in range(6)]
    uses = virtual_time.run(lambda: play(Allowance(10, 60.0), [*early, *late], store, 10.0))
    assert len(uses) == 10
