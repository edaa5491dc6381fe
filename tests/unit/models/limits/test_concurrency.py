"""Slots are given in a fair order, and no call reaches an endpoint in a cooldown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

import pytest

from agentd.errors import ModelError, NotCalled
from agentd.models.failures import Failures
from agentd.models.limits.concurrency import (
    FIRST_PAUSE,
    LONGEST_COOLDOWN,
    LONGEST_PAUSE,
    MAX_FAILURES,
    Limiter,
)
from agentd.testing import virtual_time
from agentd.testing.virtual_time import in_virtual_time

FAILURES = Failures("openai/x")
KIND = ("a", "openai/x")
REFUSED = FAILURES.error("model_rate_limited", "too much", status=429)
NO_CONNECTION = FAILURES.error("model_overloaded", "no connection")

Cooldowns = list[tuple[str, float, bool]]


def wait(seconds: float) -> ModelError:
    return FAILURES.error("model_rate_limited", "wait", status=429, retry_after=seconds)


def now() -> float:
    return asyncio.get_running_loop().time()


def limiter(most: float = 10_000, cooldowns: Cooldowns | None = None) -> Limiter:
    reported: Cooldowns = [] if cooldowns is None else cooldowns
    return Limiter("http://stub/v1", lambda *each: reported.append(each), most=most)


async def acquire(limiter: Limiter, *, agent: str = "a", timeout: float = 60) -> float:
    return await limiter.acquire(agent, timeout, "openai/x")


async def call(limiter: Limiter, seconds: float, **options: Any) -> float:
    """Makes a call that is answered; returns when it began."""
    await acquire(limiter, **options)
    began = now()
    await asyncio.sleep(seconds)
    limiter.answered(KIND, began)
    limiter.release()
    return began


async def failing(limiter: Limiter, error: ModelError, **options: Any) -> None:
    await acquire(limiter, **options)
    began = now()
    await asyncio.sleep(0.1)
    limiter.failed(error, began)
    limiter.release()
    await asyncio.sleep(0.01)  # else the next call would begin in the same moment


async def refusal(work: Awaitable[object]) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await work
    return caught.value


@in_virtual_time
async def test_a_free_slot_is_taken_without_a_wait() -> None:
    slots = limiter(most=2)
    assert [await acquire(slots), await acquire(slots)] == [0, 0]
    assert slots.in_flight == 2


@in_virtual_time
async def test_calls_of_one_agent_go_in_order() -> None:
    slots = limiter(most=1)
    began = await asyncio.gather(*(call(slots, 1) for _ in range(4)))
    assert began == [0, 1, 2, 3]
    assert (slots.in_flight, slots.waiting) == (0, 0)


@in_virtual_time
async def test_a_busy_agent_does_not_starve_the_others() -> None:
    slots = limiter(most=1)
    busy = [asyncio.create_task(call(slots, 1, agent="busy", timeout=1000)) for _ in range(100)]
    await asyncio.sleep(0.5)
    quiet = await asyncio.gather(call(slots, 1, agent="one"), call(slots, 1, agent="two"))
    assert max(quiet) <= 4
    await asyncio.gather(*busy)


@in_virtual_time
async def test_a_wait_that_ends_without_a_slot_says_what_it_waited_for() -> None:
    slots = limiter(most=1)
    await acquire(slots)
    error = await refusal(acquire(slots, timeout=5))
    assert now() == pytest.approx(5)
    assert (error.code, error.retryable) == ("model_timeout", True)
    assert isinstance(error, NotCalled)
    assert str(error) == (
        "openai/x: waited 5 s for a slot of http://stub/v1, where 1 of at most 1 calls are "
        "running; allow more time or run fewer tasks at once"
    )
    assert (slots.in_flight, slots.waiting) == (1, 0)


@in_virtual_time
async def test_a_cancelled_wait_loses_no_slot() -> None:
    slots = limiter(most=1)
    await acquire(slots)
    waiting = [asyncio.create_task(acquire(slots)) for _ in range(3)]
    await asyncio.sleep(1)
    waiting[0].cancel()
    # This one is cancelled at the moment at which it gets the slot.
    slots.release()
    waiting[1].cancel()
    await asyncio.wait(waiting[:2])
    assert await waiting[2] == 1
    assert (slots.in_flight, slots.waiting) == (1, 0)


@in_virtual_time
async def test_a_slot_that_comes_at_the_deadline_is_not_lost() -> None:
    slots = limiter(most=1)
    await acquire(slots)
    late = asyncio.create_task(acquire(slots, timeout=5))
    asyncio.get_running_loop().call_at(5, slots.release)
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
async def test_calls_wait_until_retry_after_has_passed() -> None:
    cooldowns: Cooldowns = []
    slots = limiter(most=4, cooldowns=cooldowns)
    await failing(slots, wait(7))
    queued = [call(slots, 1, agent=f"{n}") for n in range(6)]
    began = await asyncio.gather(*queued)
    assert min(began) == pytest.approx(7.1)
    assert cooldowns == [("retry_after", 7, True)]


@in_virtual_time
async def test_a_call_whose_deadline_is_in_the_cooldown_fails_immediately() -> None:
    slots = limiter(most=1)
    await acquire(slots)
    began = now()
    waiting = [asyncio.create_task(acquire(slots, timeout=seconds)) for seconds in (5, 60)]
    await asyncio.sleep(1)
    slots.failed(wait(7), began)
    error = await refusal(waiting[0])
    assert now() == 1
    assert (error.code, error.retryable, error.retry_after) == ("model_rate_limited", True, 7)
    error = await refusal(acquire(slots, timeout=6))
    assert "http://stub/v1 asked for a wait; agentd calls it again in 7 s" in str(error)
    slots.release()
    assert await waiting[1] == 8


@in_virtual_time
async def test_the_longest_cooldown_counts_and_none_is_endless() -> None:
    cooldowns: Cooldowns = []
    slots = limiter(cooldowns=cooldowns)
    began = now()
    for seconds in (5.0, 3.0, 9.0, 1e12):
        slots.failed(wait(seconds), began)
    assert cooldowns == [
        ("retry_after", 5, True),
        ("retry_after", 9, False),
        ("retry_after", LONGEST_COOLDOWN, False),
    ]
    slots.cool_down(4000)
    assert len(cooldowns) == 3
    assert await acquire(slots, timeout=5000) == LONGEST_COOLDOWN
    slots.cool_down(1)
    assert cooldowns[3:] == [("announced", 1, True)]


@in_virtual_time
async def test_an_endpoint_that_cannot_be_reached_gets_few_calls() -> None:
    cooldowns: Cooldowns = []
    slots = limiter(cooldowns=cooldowns)
    calls: list[float] = []

    async def keep_calling() -> None:
        while now() < 600:
            try:
                await acquire(slots)
            except ModelError as error:
                await asyncio.sleep(error.retry_after or 1)
                continue
            calls.append(now())
            await asyncio.sleep(0.001)
            slots.failed(NO_CONNECTION, calls[-1])
            slots.release()

    await asyncio.gather(*(keep_calling() for _ in range(64)))
    # 64 calls fail together, which causes no long pause. After that, one call at a time is tried,
    # with pauses of up to ten seconds.
    assert all(begins for _, _, begins in cooldowns)
    assert len(calls) < 64 + 600 / (LONGEST_PAUSE / 2) + 10
    assert {cause for cause, _, _ in cooldowns} == {"unreachable"}
    assert max(seconds for _, seconds, _ in cooldowns) <= LONGEST_PAUSE
    assert len({seconds for _, seconds, _ in cooldowns[-5:]}) > 1


@in_virtual_time
async def test_an_outage_of_days_ends_like_a_short_one() -> None:
    slots = limiter()
    for _ in range(12_000):
        await failing(slots, NO_CONNECTION)
    assert now() > 12 * 3600
    assert await call(slots, 1) < now()
    assert slots.limit == 10_000


@in_virtual_time
async def test_an_endpoint_that_is_reached_again_is_called_as_before() -> None:
    slots = limiter()
    for _ in range(MAX_FAILURES):
        await failing(slots, NO_CONNECTION)
    assert slots.limit == 1
    failed = now()
    began = await asyncio.gather(*(call(slots, 1) for _ in range(20)))
    assert failed < min(began) <= failed + FIRST_PAUSE
    assert len(set(began)) == 2
    assert slots.limit == 10_000


@in_virtual_time
async def test_a_connection_error_that_comes_too_late_is_not_the_endpoint_s() -> None:
    """A connection times out after 10 s. If that takes 22 s, our event loop was blocked."""
    slots = limiter()
    for _ in range(5 * MAX_FAILURES):
        await slots.acquire("me", 60, "model")
        began = now()
        await asyncio.sleep(22)
        slots.failed(NO_CONNECTION, began)
        slots.release()
    assert slots.limit == 10_000


@in_virtual_time
async def test_an_error_response_proves_that_the_endpoint_can_be_reached() -> None:
    slots = limiter()
    for _ in range(5 * MAX_FAILURES):
        await failing(slots, NO_CONNECTION)
        await failing(slots, FAILURES.refused(404, "no such model"))
    assert slots.limit == 10_000


def test_a_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        slots = limiter(most=100)
        for _ in range(5):
            await failing(slots, REFUSED)
        slots.failed(wait(2), now())
        slots.failed(wait(4), now())
        await asyncio.sleep(100)
        for _ in range(2 * MAX_FAILURES):
            await failing(slots, NO_CONNECTION)
        await call(slots, 1)
        await call(slots, 1)
        await failing(slots, REFUSED)
        await asyncio.sleep(100)
        await call(slots, 1)

    with caplog.at_level(logging.INFO, "agentd.models.limits.concurrency"):
        virtual_time.run(story)
    texts = [record.getMessage().removeprefix("http://stub/v1: ") for record in caplog.records]
    assert texts == [
        "at most 44 calls at once from now on: it refused a call (429)",
        "asked agentd to wait; no calls for 2 s",
        "the wait is over; at most 7 calls at once",
        "cannot be reached; trying one call at a time",
        "can be reached again",
        "at most 5 calls at once from now on: it refused a call (429)",
        "no refusal for 60 s",
    ]


def test_a_cooldown_of_another_replica_is_logged_as_such(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        limiter().cool_down(7)

    virtual_time.run(story)
    assert caplog.messages == ["http://stub/v1: asked another replica to wait; no calls for 7 s"]


@in_virtual_time
async def test_a_failure_that_is_already_known_does_not_lower_the_limit_twice() -> None:
    slots = limiter(most=100)
    began = now()
    await asyncio.sleep(1)
    for _ in range(5):
        slots.failed(REFUSED, began)

    assert slots.limit == 44
