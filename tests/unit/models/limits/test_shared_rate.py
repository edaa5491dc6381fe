"""A rate lets calls through while it has room, says when it has room again, and is corrected.

The laws of several replicas that share a rate are in tests/property/test_rate_laws.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from agentd.errors import BusError, Throttled
from agentd.manifest.rate import Allowance, Window
from agentd.models.limits.shared_rate import LocalWindow, Rates, Reservation, SharedRate
from agentd.testing.virtual_time import in_virtual_time

A_MINUTE = Allowance(10, 60.0)


class Store(LocalWindow):
    """Counts the changes of its window; `fails` makes the next one fail."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0
        self.fails = False

    async def change(self, edit: Callable[[Window], Window]) -> None:
        self.changes += 1
        if self.fails:
            raise BusError("away")
        await super().change(edit)


def now() -> float:
    return asyncio.get_running_loop().time()


def rate(allowance: Allowance = A_MINUTE, store: Store | None = None) -> SharedRate:
    shared = store or Store()
    return SharedRate(allowance, "limits.rate", lambda: shared, clock=now)


async def take(rate: SharedRate, amount: float = 1.0, timeout: float = 0.0) -> Reservation:
    return await rate.take(amount, timeout, "openai/x")


async def throttled(rate: SharedRate, amount: float = 1.0, timeout: float = 0.0) -> Throttled:
    with pytest.raises(Throttled) as caught:
        await take(rate, amount, timeout)
    return caught.value


@in_virtual_time
async def test_all_that_a_rate_allows_may_come_at_the_same_time() -> None:
    limited = rate()
    for _ in range(10):
        await take(limited, timeout=1.0)

    assert now() == 0
    error = await throttled(limited, timeout=1.0)
    assert str(error) == (
        "openai/x: `limits.rate: 10/min` is used up; the next call is possible in 63 s"
    )
    assert (error.code, error.retryable, error.retry_after) == ("model_rate_limited", True, 63.0)


@in_virtual_time
async def test_a_call_waits_until_there_is_room() -> None:
    limited = rate()
    await take(limited, 10, timeout=1.0)
    await take(limited, timeout=100.0)

    assert 63.0 <= now() < 70.0


@in_virtual_time
async def test_a_call_larger_than_the_rate_takes_all_of_it() -> None:
    limited = rate()
    reservation = await take(limited, 1_000_000, timeout=1.0)

    assert reservation.amount == 10
    await throttled(limited, timeout=1.0)


@in_virtual_time
async def test_what_a_call_did_not_use_is_free_again() -> None:
    limited = rate()
    reservation = await take(limited, 10, timeout=1.0)
    limited.settle(reservation, 4)

    await take(limited, 6, timeout=1.0)

    await throttled(limited, timeout=1.0)


@in_virtual_time
async def test_what_a_call_used_beyond_its_reservation_counts_too() -> None:
    limited = rate()
    reservation = await take(limited, 4, timeout=1.0)
    limited.settle(reservation, 9)
    await throttled(limited, 2, timeout=1.0)

    await take(limited, 1, timeout=1.0)


@in_virtual_time
async def test_an_amount_is_returned_after_its_slot_has_ended() -> None:
    limited = rate()
    reservation = await take(limited, 10, timeout=1.0)
    await asyncio.sleep(10)
    limited.settle(reservation, 0)

    await take(limited, 10, timeout=1.0)

    assert now() < 12


@in_virtual_time
async def test_calls_far_from_the_limit_need_few_requests() -> None:
    store = Store()
    limited = rate(Allowance(100_000, 60.0), store)
    for _ in range(64):
        await take(limited, timeout=1.0)

    assert store.changes <= 7  # each request reserves as much as was used so far: it doubles


@in_virtual_time
async def test_nothing_is_reserved_while_the_store_cannot_be_reached() -> None:
    store = Store()
    limited = rate(store=store)
    store.fails = True
    with pytest.raises(BusError):
        await take(limited, timeout=1.0)
    store.fails = False

    await take(limited, 10, timeout=1.0)


@in_virtual_time
async def test_waiting_calls_keep_their_order() -> None:
    limited, order = rate(Allowance(1, 1.0)), list[int]()

    async def call(number: int) -> None:
        await take(limited, timeout=100.0)
        order.append(number)

    await asyncio.gather(*map(call, range(5)))

    assert order == [0, 1, 2, 3, 4]


@in_virtual_time
async def test_a_call_behind_others_knows_that_its_turn_comes_too_late() -> None:
    limited = rate()
    await take(limited, 10, timeout=1.0)
    waiting = asyncio.create_task(take(limited, 10, timeout=100.0))
    await asyncio.sleep(0)

    began = now()
    await throttled(limited, timeout=50.0)

    assert now() == began
    waiting.cancel()


def test_one_key_and_allowance_are_one_rate() -> None:
    rates = Rates()
    one = rates.of("agent", A_MINUTE, "limits.rate")

    assert rates.of("agent", A_MINUTE, "limits.rate") is one
    assert rates.of("other", A_MINUTE, "limits.rate") is not one
    assert rates.of("agent", Allowance(11, 60.0), "limits.rate") is not one


@in_virtual_time
async def test_rates_of_one_key_share_a_window_unless_their_periods_differ() -> None:
    opened: dict[str, Store] = {}
    rates = Rates()
    early = rates.of("agent", A_MINUTE, "limits.rate")
    rates.share(lambda key, _: opened.setdefault(key, Store()))
    for allowance in (Allowance(20, 60.0), Allowance(20, 1.0)):
        await take(rates.of("agent", allowance, "limits.rate"), timeout=1.0)
    # Also a rate that was made before the window was shared.
    await take(early, timeout=1.0)

    assert [store.changes for store in opened.values()] == [2, 1]


@in_virtual_time
async def test_a_call_does_not_overtake_a_waiting_one_that_needs_more() -> None:
    limited = rate()
    first = await take(limited, 8, timeout=1.0)
    large = asyncio.create_task(take(limited, 8, timeout=100.0))
    await asyncio.sleep(0)
    limited.settle(first, 6)  # room for 4: too little for the call that waits

    small = asyncio.create_task(take(limited, 1, timeout=100.0))
    await asyncio.sleep(1)
    assert not small.done()
    assert not large.done()
    await asyncio.gather(large, small)


@in_virtual_time
async def test_a_call_that_waits_exactly_as_long_as_it_may_is_let_wait() -> None:
    limited = rate()
    await take(limited, 10)
    with pytest.raises(Throttled) as refused:
        await limited.take(1, 62.9, "m")
    assert now() == 0
    assert refused.value.retry_after == 63.0
    # There is room in 63 s at the earliest, and the jitter comes on top.
    await throttled(limited, timeout=63.0)
    assert now() == 63.0


@in_virtual_time
async def test_a_call_that_waited_in_vain_says_for_which_model_and_for_how_long() -> None:
    """The calls before it took the room that it waited for."""
    limited = rate(Allowance(2, 20.0))
    await take(limited, 2)
    waiting = [asyncio.create_task(take(limited, 2, timeout=300.0)) for _ in range(3)]
    await asyncio.sleep(0)
    error = await throttled(limited, 2, timeout=80.0)
    assert now() == 80.0
    assert str(error).startswith("openai/x: `limits.rate: 2/20 s` is used up; ")
    assert 3 < (error.retry_after or 0) < 5
    for each in waiting:
        each.cancel()


@in_virtual_time
async def test_the_amounts_of_all_waiting_calls_count_before_a_new_one() -> None:
    limited = rate()
    await take(limited, 6)
    await asyncio.sleep(30)
    await take(limited, 4)
    # The six are free again after 63 s, the four after 93 s. The two calls that wait take the six.
    waiting = [asyncio.create_task(take(limited, 3, timeout=500.0)) for _ in range(2)]
    await asyncio.sleep(0)
    error = await throttled(limited, 1, timeout=62.0)
    assert (now(), error.retry_after) == (30.0, 63.0)
    for each in waiting:
        each.cancel()


@in_virtual_time
async def test_what_a_call_used_too_much_counts_in_the_slot_of_its_answer() -> None:
    store = Store()
    limited = rate(Allowance(100, 20.0), store)
    early = await take(limited, 10)
    await asyncio.sleep(5)
    await take(limited, 1)
    limited.settle(early, 15)
    await take(limited, 1)
    assert await stored(store) == {0: 10, 5: 7}


@in_virtual_time
async def test_what_a_call_used_too_much_counts_now_though_nothing_else_was_called_since() -> None:
    store = Store()
    limited = rate(Allowance(100, 20.0), store)
    early = await take(limited, 10)
    await asyncio.sleep(5)
    limited.settle(early, 15)
    await take(limited, 1)
    assert await stored(store) == {0: 10, 5: 6}


@in_virtual_time
async def test_what_a_call_did_not_use_is_given_back_to_its_own_slot() -> None:
    store = Store()
    limited = rate(Allowance(100, 20.0), store)
    early, exact = await take(limited, 10), await take(limited, 10)
    await asyncio.sleep(5)
    await take(limited, 1)
    for used in (9.5, 7.5):  # corrections of one slot are added up
        limited.settle(early, used)
    limited.settle(exact, 10)
    await take(limited, 1)
    assert await stored(store) == {0: 17, 5: 2}


@in_virtual_time
async def test_what_a_call_gives_back_in_its_own_slot_needs_no_request() -> None:
    store = Store()
    limited = rate(Allowance(100, 20.0), store)
    early = await take(limited, 10)
    limited.settle(early, 10)
    limited.settle(early, 9.5)
    limited.settle(early, 9.5)
    assert await take(limited, 1) == Reservation(0, 1)
    assert (store.changes, await stored(store)) == (1, {0: 10})


@in_virtual_time
async def test_a_reservation_names_its_slot_and_its_amount() -> None:
    limited = rate(Allowance(100, 20.0))
    await asyncio.sleep(3)
    assert await take(limited, 2) == Reservation(3, 2)
    assert await take(limited, 3) == Reservation(3, 3)
    assert await take(limited, 1) == Reservation(3, 1)


@in_virtual_time
async def test_the_clock_that_is_ahead_says_which_slot_it_is() -> None:
    store = Store()
    allowance = Allowance(100, 20.0)
    ahead = SharedRate(allowance, "r", lambda: store, clock=lambda: now() + 7)
    assert await ahead.take(1, 1.0, "m") == Reservation(7, 1)
    limited = rate(allowance, store)
    assert await take(limited, 1) == Reservation(7, 1)
    # It does not go back when the other replica has nothing more to say.
    await asyncio.sleep(3)
    assert await take(limited, 1) == Reservation(7, 1)


class SlowStore(Store):
    """A store that answers after `latency` seconds."""

    latency = 0.0

    async def change(self, edit: Callable[[Window], Window]) -> None:
        await super().change(edit)
        await asyncio.sleep(self.latency)


@in_virtual_time
async def test_what_was_reserved_for_a_slot_that_has_ended_is_given_back() -> None:
    store = SlowStore()
    limited = rate(Allowance(100, 20.0), store)
    await take(limited, 5, timeout=9.0)
    store.latency = 1.5
    # As much as was used in this slot is likely, so 5 are reserved for this call of 2.
    early = asyncio.create_task(take(limited, 2, timeout=9.0))
    await asyncio.sleep(1.2)
    store.latency = 0.0
    # This call looks at the clock, and a new slot begins while the request is under way.
    late = asyncio.create_task(take(limited, 1, timeout=9.0))
    assert (await early, await late) == (Reservation(0, 2), Reservation(1, 1))
    assert await stored(store) == {0: 7, 1: 5}


@in_virtual_time
async def test_an_amount_that_was_left_is_part_of_the_next_reservation() -> None:
    store = Store()
    limited = rate(Allowance(100, 20.0), store)
    for _ in range(3):
        await take(limited, 2)  # 2 are left
    await take(limited, 8)
    assert await stored(store) == {0: 16}  # 6 more would do; as much as the call takes is likely


@in_virtual_time
async def test_one_request_reserves_for_all_calls_that_wait() -> None:
    store = SlowStore()
    store.latency = 0.1
    limited = rate(Allowance(100, 20.0), store)
    calls = [take(limited, amount, timeout=9.0) for amount in (2, 3, 4)]
    found = await asyncio.gather(*calls)
    assert found == [Reservation(0, 2), Reservation(0, 3), Reservation(0, 4)]
    # The first call could not know of the others; the second one reserved for the third.
    assert (store.changes, await stored(store)) == (2, {0: 9})


async def test_rates_that_are_not_shared_are_counted_in_this_process() -> None:
    limited = Rates().of("agent", Allowance(1, 86400.0), "limits.rate")
    await limited.take(1, 0.0, "m")
    with pytest.raises(Throttled, match=r"m: `limits\.rate: 1/day` is used up"):
        await limited.take(1, 0.0, "m")


async def test_a_shared_window_is_opened_for_its_key_and_its_allowance() -> None:
    opened: list[tuple[str, Allowance]] = []

    def open_store(key: str, allowance: Allowance) -> Store:
        opened.append((key, allowance))
        return Store()

    rates = Rates()
    rates.share(open_store)
    await rates.of("agent", A_MINUTE, "limits.rate").take(1, 0.0, "m")
    assert opened == [("agent\n60", A_MINUTE)]


@in_virtual_time
async def test_a_reservation_that_is_not_used_in_its_slot_is_given_back_with_the_next() -> None:
    store = Store()
    limited = rate(Allowance(100, 20.0), store)
    for _ in range(3):
        await take(limited, 2)
    # The third call reserved as much as was used before, and the fourth one needs no request.
    await take(limited, 2)
    assert (store.changes, await stored(store)) == (3, {0: 8})
    await asyncio.sleep(1)
    await take(limited, 1)
    # As much again as in the slot before, less what is needed now.
    assert await stored(store) == {0: 8, 1: 8}
    await asyncio.sleep(1)
    await take(limited, 1)
    assert await stored(store) == {0: 8, 1: 1, 2: 1}


@in_virtual_time
async def test_half_of_the_room_is_left_to_other_replicas_unless_one_call_needs_more() -> None:
    store = Store()
    limited = rate(Allowance(100, 20.0), store)
    await take(limited, 40)
    await take(limited, 6)
    # 60 were free, and 40 were likely to be needed: half of the room is reserved.
    assert await stored(store) == {0: 70}
    await take(limited, 24)
    await take(limited, 20)
    assert await stored(store) == {0: 90}


async def stored(store: Store) -> dict[int, float]:
    """The amounts in a window by slot."""
    found: list[Window] = []

    def look(window: Window) -> Window:
        found.append(window)
        return window

    await LocalWindow.change(store, look)
    return dict(found[0].used)
