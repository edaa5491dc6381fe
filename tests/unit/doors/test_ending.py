"""Work that ends early when the process does."""

from __future__ import annotations

import asyncio

import pytest

from agentd.doors.ending import Ending


async def forever() -> str:
    await asyncio.Event().wait()
    return "never"


async def test_it_calls_what_waits_when_it_is_set() -> None:
    ending, calls = Ending(), list[str]()
    with ending.calling(lambda: calls.append("in the block")):
        assert not calls
        ending.set()
    assert calls == ["in the block"]
    ending.set()
    assert calls == ["in the block"]


async def test_it_calls_at_once_if_it_is_set_already() -> None:
    ending, calls = Ending(), list[int]()
    ending.set()
    with ending.calling(lambda: calls.append(1)):
        assert calls == [1]


async def test_work_that_ends_before_gives_what_it_makes() -> None:
    async def work() -> int:
        return 5

    assert await Ending().before(work()) == 5


async def test_work_is_cancelled_when_it_is_set() -> None:
    ending, ended = Ending(), list[str]()

    async def work() -> None:
        try:
            await forever()
        finally:
            ended.append("cancelled")

    waiting = asyncio.create_task(ending.before(work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    ending.set()
    assert await waiting is None
    assert ended == ["cancelled"]


async def test_work_is_cancelled_after_its_time() -> None:
    assert await Ending().before(forever(), 0.01) is None


async def test_an_error_of_the_work_is_raised() -> None:
    async def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Ending().before(work())


async def test_work_ends_with_who_waits_for_it() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await forever()
        finally:
            ended.set()

    waiting = asyncio.create_task(Ending().before(work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()
