"""Beats for running tasks are sent even while the event loop is blocked."""

from __future__ import annotations

import asyncio
import time

from agentd.nats.bus import Bus, Msg
from agentd.queue.in_progress import Beats


async def test_beats_go_on_while_the_event_loop_is_busy(bus: Bus) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def hear(msg: Msg) -> None:
        await heard.put(msg.data)

    inbox = bus.new_inbox()
    await bus.subscribe(inbox, hear)
    await bus.fence()
    beats = Beats(bus.options, 0.05)
    beats.held.add(inbox)
    beats.start()
    assert await asyncio.wait_for(heard.get(), 5) == b"+WPI"
    before = heard.qsize()
    time.sleep(0.5)  # noqa: ASYNC251 (the point of the test)
    await asyncio.sleep(0.01)
    assert heard.qsize() - before >= 5
    beats.held.discard(inbox)
    beats.stop()
