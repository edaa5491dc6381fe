"""Slots are given in a fair order, and nobody calls an endpoint that asked to be left alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from agentd.errors import ModelError, NotCalled
from agentd.models.failures import Failures
from agentd.models.limits.concurrency import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    LONGEST_REST,
    MISSES,
    Limiter,
)
from agentd.models.limits.fair_queue import FairQueue, Waiter
from agentd.testing import virtual_time

FAILURES = Failures("openai/x")
KIND = ("a", "openai/x")
REFUSED = FAILURES.error("model_rate_limited", "too much", status=429)
NO_CONNECTION = FAILURES.error("model_overloaded", "no connection")

Told = list[tuple[str, float, bool]]


def wait(seconds: float) -> ModelError:
    return FAILURES.error("model_rate_limited", "wait", status=429, retry_after=seconds)


def now() -> float:
    return asyncio.get_running_loop().time()


def limiter(most: float = 10_000, told: Told | None = None) -> Limiter:
    rests: Told = [] if told is None else told
    return Limiter("http://stub/v1", lambda *rest: rests.append(rest), most=most)


async def enter(limiter: Limiter, *, agent: str = "a", timeout: float = 60) -> float:
    return await limiter.enter(agent, timeout, "openai/x")


async def call(limiter: Limiter, seconds: float, **options: Any) -> float:
    """One call that is answered; when it began."""
    await enter(limiter, **options)
    began = now()
    await asyncio.sleep(seconds)
    limiter.answered(KIND, began)
    limiter.leave()
    return began


async def failing(limiter: Limiter, error: ModelError, **options: Any) -> None:
    await enter(limiter, **options)
    began = now()
    await asyncio.sleep(0.1)
    limiter.failed(error, began)
    limiter.leave()
    await asyncio.sleep(0.01)  # else the next call would begin in the same moment


async def refusal(work: Awaitable[object]) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await work
    return caught.value


def in_virtual_time(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def timeless() -> None:
        virtual_time.run(test)

    timeless.__name__ = test.__name__
    timeless.__doc__ = test.__doc__
    return timeless


@in_virtual_time
async def test_a_free_slot_is_taken_at_once() -> None:
    slots = limiter(most=2)
    assert [await enter(slots), await enter(slots)] == [0, 0]
    assert slots.in_flight == 2


@in_virtual_time
async def test_calls_of_one_agent_go_in_order() -> None:
    slots = limiter(most=1)
    began = await asyncio.gather(*(call(slots, 1) for _ in range(4)))
    assert began == [0, 1, 2, 3]
    assert (slots.in_flight, slots.waiting) == (0, 0)


@in_virtual_time
async def test_a_busy_agent_does_not_starve_its_neighbours() -> None:
    slots = limiter(most=1)
    busy = [asyncio.create_task(call(slots, 1, agent="busy", timeout=1000)) for _ in range(100)]
    await asyncio.sleep(0.5)
    quiet = await asyncio.gather(call(slots, 1, agent="one"), call(slots, 1, agent="two"))
    assert max(quiet) <= 4
    await asyncio.gather(*busy)


@in_virtual_time
async def test_a_wait_that_outlasts_its_deadline_says_for_what() -> None:
    slots = limiter(most=1)
    await enter(slots)
    error = await refusal(enter(slots, timeout=5))
    assert now() == pytest.approx(5)
    assert (error.code, error.retryable) == ("model_timeout", True)
    assert isinstance(error, NotCalled)
    assert str(error) == (
        "openai/x: waited 5 s for a slot: http://stub/v1 has 1 of 1 calls under way"
    )
    assert (slots.in_flight, slots.waiting) == (1, 0)


@in_virtual_time
async def test_a_cancelled_wait_leaves_no_trace() -> None:
    slots = limiter(most=1)
    await enter(slots)
    waiting = [asyncio.create_task(enter(slots)) for _ in range(3)]
    await asyncio.sleep(1)
    waiting[0].cancel()
    # Cancelled in the moment in which it gets the slot.
    slots.leave()
    waiting[1].cancel()
    await asyncio.wait(waiting[:2])
    assert await waiting[2] == 1
    assert (slots.in_flight, slots.waiting) == (1, 0)


@in_virtual_time
async def test_a_slot_that_comes_at_the_deadline_is_not_lost() -> None:
    slots = limiter(most=1)
    await enter(slots)
    late = asyncio.create_task(enter(slots, timeout=5))
    asyncio.get_running_loop().call_at(5, slots.leave)
    await asyncio.wait([late])
    assert slots.in_flight == (0 if late.exception() else 1)


@in_virtual_time
async def test_a_refusal_lowers_the_limit_and_answers_raise_it() -> None:
    slots = limiter(most=8)
    await failing(slots, REFUSED)
    assert slots.limit == 5
    for _ in range(10):
        await asyncio.gather(*(call(slots, 1) for _ in range(8)))
    assert slots.limit == 8


@pytest.mark.parametrize(
    ("error", "lowers"),
    [
        (REFUSED, True),
        (FAILURES.refused(503, "busy"), True),
        (FAILURES.refused(500, "oops"), True),
        (FAILURES.refused(429, "insufficient_quota"), False),
        (FAILURES.refused(400, "what?"), False),
        (FAILURES.error("model_timeout", "late"), False),
        (FAILURES.error("model_truncated", "half"), False),
        (NO_CONNECTION, False),
    ],
    ids=lambda value: value.code if isinstance(value, ModelError) else "",
)
def test_which_failures_lower_the_limit(error: ModelError, lowers: bool) -> None:
    async def once() -> None:
        slots = limiter(most=8)
        await failing(slots, error)
        assert (slots.limit < 8) == lowers

    virtual_time.run(once)


@in_virtual_time
async def test_calls_wait_until_retry_after_is_over() -> None:
    told: Told = []
    slots = limiter(most=4, told=told)
    await failing(slots, wait(7))
    queued = [call(slots, 1, agent=f"{n}") for n in range(6)]
    began = await asyncio.gather(*queued)
    assert min(began) == pytest.approx(7.1)
    assert told == [("retry_after", 7, True)]


@in_virtual_time
async def test_a_deadline_before_that_is_told_at_once() -> None:
    slots = limiter(most=1)
    await enter(slots)
    began = now()
    waiting = [asyncio.create_task(enter(slots, timeout=seconds)) for seconds in (5, 60)]
    await asyncio.sleep(1)
    slots.failed(wait(7), began)
    error = await refusal(waiting[0])
    assert now() == 1
    assert (error.code, error.retryable, error.retry_after) == ("model_rate_limited", True, 7)
    error = await refusal(enter(slots, timeout=6))
    assert "http://stub/v1 asked to wait; it is called again in 7 s" in str(error)
    slots.leave()
    assert await waiting[1] == 8


@in_virtual_time
async def test_the_longest_wish_counts_and_no_wish_is_endless() -> None:
    told: Told = []
    slots = limiter(told=told)
    began = now()
    for seconds in (5.0, 3.0, 9.0, 1e12):
        slots.failed(wait(seconds), began)
    assert told == [
        ("retry_after", 5, True),
        ("retry_after", 9, False),
        ("retry_after", LONGEST_REST, False),
    ]
    slots.rest(4000)
    assert len(told) == 3
    assert await enter(slots, timeout=5000) == LONGEST_REST
    slots.rest(1)
    assert told[3:] == [("announced", 1, True)]


@in_virtual_time
async def test_an_endpoint_that_cannot_be_reached_is_not_hammered() -> None:
    told: Told = []
    slots = limiter(told=told)
    calls: list[float] = []

    async def keep_calling() -> None:
        while now() < 600:
            try:
                await enter(slots)
            except ModelError as error:
                await asyncio.sleep(error.retry_after or 1)
                continue
            calls.append(now())
            await asyncio.sleep(0.001)
            slots.failed(NO_CONNECTION, calls[-1])
            slots.leave()

    await asyncio.gather(*(keep_calling() for _ in range(64)))
    # 64 find out together, which is no reason for a long pause; then one at a time is tried, with
    # pauses of up to half a minute.
    assert all(begins for _, _, begins in told)
    assert len(calls) < 64 + 600 / (LONGEST_PAUSE / 2) + 10
    assert {cause for cause, _, _ in told} == {"unreachable"}
    assert max(seconds for _, seconds, _ in told) <= LONGEST_PAUSE
    assert len({seconds for _, seconds, _ in told[-5:]}) > 1


@in_virtual_time
async def test_an_outage_of_days_is_one_like_others() -> None:
    slots = limiter()
    for _ in range(3000):
        await failing(slots, NO_CONNECTION)
    assert now() > 12 * 3600
    assert await call(slots, 1) < now()
    assert slots.limit == 10_000


@in_virtual_time
async def test_once_reached_it_is_called_as_before() -> None:
    slots = limiter()
    for _ in range(MISSES):
        await failing(slots, NO_CONNECTION)
    assert slots.limit == 1
    failed = now()
    began = await asyncio.gather(*(call(slots, 1) for _ in range(20)))
    assert failed < min(began) <= failed + FIRST_PAUSE
    assert len(set(began)) == 2
    assert slots.limit == 10_000


@in_virtual_time
async def test_a_connection_that_failed_too_late_was_our_own_fault() -> None:
    """The timer of a connection rings after 10 s; after 22 s the event loop had stood still."""
    slots = limiter()
    for _ in range(5 * MISSES):
        await slots.enter("me", 60, "model")
        began = now()
        await asyncio.sleep(22)
        slots.failed(NO_CONNECTION, began)
        slots.leave()
    assert slots.limit == 10_000


@in_virtual_time
async def test_an_answer_of_any_kind_is_a_connection() -> None:
    slots = limiter()
    for _ in range(5 * MISSES):
        await failing(slots, NO_CONNECTION)
        await failing(slots, FAILURES.refused(404, "no such model"))
    assert slots.limit == 10_000


def test_changes_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        slots = limiter(most=100)
        for _ in range(5):
            await failing(slots, REFUSED)
        slots.failed(wait(2), now())
        slots.failed(wait(4), now())
        await asyncio.sleep(100)
        for _ in range(2 * MISSES):
            await failing(slots, NO_CONNECTION)
        await call(slots, 1)
        await call(slots, 1)
        await failing(slots, REFUSED)
        await asyncio.sleep(100)
        await call(slots, 1)

    with caplog.at_level(logging.INFO, "agentd.models.limits.concurrency"):
        virtual_time.run(story)
    texts = [record.getMessage().removeprefix("http://stub/v1 ") for record in caplog.records]
    assert texts == [
        "gets 44 calls at once from now on: it refused one (429)",
        "asked us to wait 2 s",
        "is called again, 7 at once",
        "cannot be reached; one call at a time is tried",
        "can be reached again",
        "gets 5 calls at once from now on: it refused one (429)",
        "refuses nothing any more",
    ]


@in_virtual_time
async def test_turns_rotate() -> None:
    turns = FairQueue()
    loop = asyncio.get_running_loop()
    waiters = [Waiter(agent, 10.0, loop.create_future()) for agent in "aaabbc"]
    for waiter in waiters:
        turns.join(waiter)
    turns.leave(waiters[1])
    turns.leave(waiters[1])
    order = [turns.next() for _ in range(len(turns))]
    assert [waiter.agent for waiter in order] == ["a", "b", "c", "a", "b"]
    assert order[3] is waiters[2]
    with pytest.raises(KeyError):
        turns.next()
