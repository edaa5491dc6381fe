"""However replicas share a rate, no period sees more than it allows, and everybody gets a turn."""

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
    """One call: by which replica, when, how much it takes, what part of it it uses."""

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


class Board:
    """The window of several replicas, each change of which takes `latency` seconds. As with
    compare-and-set, an edit may be made of what is no longer true, and made again."""

    def __init__(self, latency: float) -> None:
        self.window = Window()
        self.latency = latency
        self.looks = 0

    async def change(self, edit: Callable[[Window], Window]) -> None:
        self.looks += 1
        before = self.window
        edit(before)
        await asyncio.sleep(self.latency)
        self.window = edit(self.window)


@dataclass(frozen=True)
class Use:
    at: float
    amount: float


async def play(
    allowance: Allowance, calls: Sequence[Call], board: Board, timeout: float
) -> list[Use]:
    """What was used, and when; calls that were not let through are left out."""
    loop = asyncio.get_running_loop()
    rates = [SharedRate(allowance, "it", lambda: board, clock=loop.time) for _ in range(3)]
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
    assert all(waits)  # who is turned away knows for how long
    return sorted(uses, key=lambda use: use.at)


@settings(deadline=None)
@given(CALLS, st.integers(1, 30), st.sampled_from([0.0, 0.01, 0.2]))
def test_no_period_has_more_than_its_share(calls: list[Call], count: int, latency: float) -> None:
    allowance = Allowance(count, 60.0)
    uses = virtual_time.run(lambda: play(allowance, calls, Board(latency), 1e6))
    assert len(uses) == len(calls)  # nobody is forgotten
    for first in uses:
        window = [use.amount for use in uses if first.at <= use.at < first.at + 60.0]
        assert sum(window) <= count + 1e-6


@settings(deadline=None)
@given(CALLS, st.sampled_from([0.5, 5.0, 40.0]))
def test_who_cannot_be_let_through_in_time_is_told_when(calls: list[Call], timeout: float) -> None:
    allowance = Allowance(5, 60.0)
    uses = virtual_time.run(lambda: play(allowance, calls, Board(0.01), timeout))
    assert len(uses) <= len(calls)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 200), st.integers(2, 30))
def test_a_queue_is_served_at_the_rate_without_a_busy_loop(waiting: int, count: int) -> None:
    allowance, board = Allowance(count, 60.0), Board(0.01)
    calls = [Call(number % 3, 0.0, 1, 1.0) for number in range(waiting)]
    uses = virtual_time.run(lambda: play(allowance, calls, board, 1e6))
    periods = (waiting - 1) // count
    # A period and its slot for each allowance, and a moment each for who comes first.
    assert uses[-1].at <= (periods + 1) * 60.0 * (1 + 2 / SLOTS)
    # Each of the three replicas looks a few times a slot, whoever waits.
    assert board.looks <= 3 * (5 * (periods + 2) * (SLOTS + 2) + waiting)


def test_far_from_the_limit_most_calls_cost_no_look() -> None:
    board = Board(0.001)
    calls = [Call(0, number / 100, 1, 1.0) for number in range(3000)]
    uses = virtual_time.run(lambda: play(Allowance(60_000, 60.0), calls, board, 10.0))
    assert len(uses) == 3000
    assert board.looks < 300


def test_what_one_replica_does_not_need_another_one_gets() -> None:
    board = Board(0.0)
    early = [Call(0, 0.0, 1, 1.0) for _ in range(4)]
    late = [Call(number % 2, 10.0 + number, 1, 1.0) for number in range(6)]
    uses = virtual_time.run(lambda: play(Allowance(10, 60.0), [*early, *late], board, 10.0))
    assert len(uses) == 10
