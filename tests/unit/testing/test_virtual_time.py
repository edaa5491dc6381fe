"""The clock of the virtual event loop jumps from timer to timer, and only then."""

from __future__ import annotations

import asyncio
import time

import pytest

from agentd.testing import virtual_time


def test_hours_pass_at_once_and_exactly() -> None:
    async def work() -> list[float]:
        loop = asyncio.get_running_loop()
        times = [loop.time()]
        await asyncio.sleep(3600)
        times.append(loop.time())
        return times

    started = time.monotonic()

    assert virtual_time.run(work) == [0, pytest.approx(3600)]
    assert time.monotonic() - started < 60


def test_timers_end_in_the_order_of_their_times() -> None:
    ended: list[str] = []

    async def sleep(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        ended.append(name)

    async def work() -> None:
        await asyncio.gather(sleep("c", 30), sleep("a", 10), sleep("b", 20))

    virtual_time.run(work)
    assert ended == ["a", "b", "c"]


def test_a_timeout_ends_work_that_takes_longer() -> None:
    async def work() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(6)
        return asyncio.get_running_loop().time()

    assert virtual_time.run(work) == pytest.approx(5)


def test_work_that_is_ready_runs_before_the_clock_jumps() -> None:
    async def work() -> float:
        for _ in range(1000):
            await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    assert virtual_time.run(work) == 0
