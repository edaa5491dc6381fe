"""Work in the background does not end unseen: it is started again, and its failure is reported."""

from __future__ import annotations

import asyncio
import itertools
import logging

import pytest

from agentd.background import Background, keep
from agentd.errors import BusError
from agentd.protocol.trace import TraceContext, current, entered
from agentd.testing.virtual_time import in_virtual_time


@in_virtual_time
async def test_work_that_fails_is_started_again_until_it_returns() -> None:
    failures = [KeyError("x"), BusError("no server"), ExceptionGroup("two", [ValueError("y")])]
    counted: list[str] = []
    seen: list[str] = []
    background = Background(counted.append)

    async def work() -> None:
        seen.append(background.troubles.get("reading", ""))
        if failures:
            raise failures.pop(0)

    await background.keep("reading", work)
    assert len(seen) == 4
    assert counted == ["reading"] * 3
    assert background.troubles == {}


@in_virtual_time
async def test_the_pauses_grow_and_end_at_half_a_minute() -> None:
    clock, started = asyncio.get_running_loop().time, list[float]()

    async def work() -> None:
        started.append(clock())
        raise KeyError

    task = Background().keep("reading", work)
    await asyncio.sleep(600)
    pauses = [after - before for before, after in itertools.pairwise(started)]
    assert 0.25 <= pauses[0] <= 0.5
    assert all(15 <= pause <= 30 for pause in pauses[7:])
    task.cancel()


@in_virtual_time
async def test_what_has_failed_is_shown_until_it_runs_again() -> None:
    background, shown = Background(), list[str]()

    async def work() -> None:
        if len(shown) < 1:
            raise BusError("no server")
        await asyncio.sleep(3600)

    background.keep("reading", work, on_trouble=shown.append)
    await asyncio.sleep(0.1)
    assert background.troubles == {"reading": "no server"}
    await asyncio.sleep(1)
    assert background.troubles == {}
    assert shown == ["no server", ""]
    background.close()


@in_virtual_time
async def test_a_cancellation_of_what_it_waits_for_is_a_failure_and_its_own_is_the_end() -> None:
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        waits: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waits.cancel()
        await waits

    task = asyncio.create_task(keep("reading", work))
    await asyncio.sleep(2)
    assert runs > 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_that_runs_once_reports_its_failure(caplog: pytest.LogCaptureFixture) -> None:
    counted: list[str] = []
    background = Background(counted.append)

    async def work(error: Exception) -> None:
        raise error

    await background.start("sending", work(KeyError("x")))
    await background.start("sending", work(BusError("no server")))

    assert counted == ["sending", "sending"]
    bug, expected = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert (bug.getMessage(), bug.exc_info is None) == ("sending failed: KeyError: 'x'", False)
    assert (expected.getMessage(), expected.exc_info) == ("sending failed: no server", None)


async def test_work_that_is_kept_is_part_of_no_request_that_began_it() -> None:
    seen: list[TraceContext | None] = []

    async def work() -> None:
        seen.append(current())

    with entered(TraceContext.start()):
        await Background().keep("reading", work)
    assert seen == [None]
