"""Reads a stream on from a sequence, as fast as one connection can.

A batch is read with one direct get (ADR-31), and the next one is asked for as soon as it has
arrived, so that the server reads while the batch is worked on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator

from agentd.errors import BusError
from agentd.nats.bus import Bus, Msg, status_of
from agentd.protocol.server_subjects import direct_get

_BATCH = 2_000  # messages
_BYTES = 4 * 1024**2  # of a batch; one message may have more
_TIMEOUT = 10.0  # seconds without a message


async def batches(bus: Bus, stream: str, start: int) -> AsyncGenerator[list[Msg]]:
    """The messages from the sequence `start` to the newest one, oldest first, in batches.

    Raises:
        BusError: the server does not answer.
    """
    coming = asyncio.create_task(_batch(bus, stream, start))
    try:
        while batch := await coming:
            headers = batch[-1].headers or {}
            left, start = int(headers["Nats-Num-Pending"]), int(headers["Nats-Sequence"]) + 1
            if left:
                coming = asyncio.create_task(_batch(bus, stream, start))
            yield batch
            if not left:
                return
    finally:
        coming.cancel()


async def _batch(bus: Bus, stream: str, start: int) -> list[Msg]:
    """The next messages; none if there is none."""
    loop = asyncio.get_running_loop()
    arrived = list[Msg]()
    ended: asyncio.Future[None] = loop.create_future()

    def on_message(msg: Msg) -> None:
        if not status_of(msg):
            arrived.append(msg)
        elif not ended.done():
            ended.set_result(None)

    def on_failure(error: BusError) -> None:
        if not ended.done():
            ended.set_exception(error)

    inbox, request = bus.new_inbox(), direct_get(stream)
    wanted = {"batch": _BATCH, "max_bytes": _BYTES, "seq": start, "next_by_subj": ">"}
    subscription = await bus.listen(inbox, on_message)
    try:
        with bus.failing(request, on_failure):
            await bus.publish(request, json.dumps(wanted).encode(), reply=inbox)
            while not ended.done():
                seen = len(arrived)
                await asyncio.wait([ended], timeout=_TIMEOUT)
                if len(arrived) == seen and not ended.done():
                    raise BusError(f"{stream}: no answer within {_TIMEOUT:g} s")
            ended.result()
    finally:
        await subscription.close()
    return arrived
