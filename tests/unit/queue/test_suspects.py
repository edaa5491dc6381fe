"""The turns of suspects: how many run at once, and in which order."""

from __future__ import annotations

import asyncio
import contextlib

from agentd.queue.suspects import Suspects
from tests.waiting import until


class Crowd:
    """Suspects of one process, each of which runs until it is `over`."""

    def __init__(self, trial: float = 60.0) -> None:
        self.suspects = Suspects(trial)
        self.running: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str, alone: bool = False) -> None:
        for name in names:
            self._ends[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._run(name, alone))
        await self.settle()

    async def over(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
            await self.settle()

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def _run(self, name: str, alone: bool) -> None:
        async with self.suspects.turn(alone=alone):
            self.running.append(name)
            with contextlib.suppress(asyncio.CancelledError):
                await self._ends[name].wait()
            self.running.remove(name)


async def test_twice_as_many_run_with_each_that_ends_in_the_order_in_which_they_came() -> None:
    crowd = Crowd()
    await crowd.come(*"abcdefgh")
    assert crowd.running == ["a"]
    await crowd.over("a")
    assert crowd.running == ["b", "c"]
    await crowd.over("b")
    assert crowd.running == ["c", "d", "e", "f"]


async def test_when_none_is_left_the_next_ones_begin_with_one() -> None:
    crowd = Crowd()
    await crowd.come(*"ab")
    await crowd.over("a")
    await crowd.over("b")
    await crowd.come(*"cd")
    assert crowd.running == ["c"]


async def test_nothing_runs_beside_a_suspect_that_must_run_alone() -> None:
    crowd = Crowd()
    await crowd.come(*"abc")
    await crowd.over("a")
    await crowd.come("x", alone=True)
    await crowd.come("d")
    assert crowd.running == ["b", "c"]
    await crowd.over("b")
    assert crowd.running == ["c"]
    await crowd.over("c")
    assert crowd.running == ["x"]
    await crowd.over("x")
    assert crowd.running == ["d"]


async def test_a_suspect_that_is_cancelled_while_it_waits_keeps_nobody_waiting() -> None:
    crowd = Crowd()
    await crowd.come("a", "b", "c")
    await crowd.over("a")
    await crowd.come("x", alone=True)
    await crowd.come("d", "e")
    await crowd.cancel("x")
    assert crowd.running == ["b", "c"]
    await crowd.over("b")
    assert crowd.running == ["c", "d", "e"]


async def test_a_suspect_that_is_cancelled_in_its_turn_gives_the_turn_back() -> None:
    crowd = Crowd()
    await crowd.come("a")
    granted = asyncio.create_task(crowd.come("b"))
    await crowd.settle()
    # In the same moment: the turn is given, and the one that gets it is cancelled.
    crowd._ends["a"].set()  # pyright: ignore[reportPrivateUsage]
    crowd._tasks["b"].cancel()  # pyright: ignore[reportPrivateUsage]
    await granted
    await crowd.settle()
    await crowd.come("c")
    assert crowd.running == ["c"]


async def test_a_suspect_that_waits_for_another_one_does_not_keep_it_waiting_for_ever() -> None:
    crowd = Crowd(trial=0.01)
    await crowd.come("parent", alone=True)
    await crowd.come("child", alone=True)
    await until(lambda: crowd.running == ["parent", "child"])
