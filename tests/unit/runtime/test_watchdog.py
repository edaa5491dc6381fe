"""The watchdog reports a blocked event loop once, with its place."""

from __future__ import annotations

import asyncio
import time

import pytest

from agentd.runtime import watchdog
from agentd.runtime.watchdog import Watchdog


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same watchdog, ten times as fast."""
    monkeypatch.setattr(watchdog, "_TICK", 0.01)
    monkeypatch.setattr(watchdog, "_STALL", 0.1)


async def test_a_blocked_event_loop_is_reported_once_with_its_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    dog = Watchdog()
    dog.start()
    await asyncio.sleep(0.03)
    time.sleep(0.5)  # noqa: ASYNC251 (the point of the test)
    await asyncio.sleep(0.03)
    dog.stop()

    assert dog.stalls == 1
    assert dog.longest > 0.3
    [record] = caplog.records
    place = "test_a_blocked_event_loop_is_reported_once_with_its_place (tests/"
    assert place in record.getMessage()


async def test_a_loop_that_turns_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    dog = Watchdog()
    dog.start()
    await asyncio.sleep(0.05)
    dog.stop()
    time.sleep(0.3)  # noqa: ASYNC251 (nothing watches any more)

    assert dog.stalls == 0
    assert caplog.records == []
