"""The result of a task, found by the id of the task alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from agentd.errors import BusError
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.objects import whole
from agentd.nats.records import skipping
from agentd.nats.streams import LOG
from agentd.protocol.message import AgentMessage
from agentd.protocol.result import decode_result
from agentd.protocol.subjects import Subjects, token

_LOOK = 15.0  # seconds between two searches of the log for a result whose message was lost
_PAUSE = 0.2  # seconds until a server that did not answer is asked again


def pattern(subjects: Subjects, task: str) -> str:
    """The subjects that the result of a task may have.

    Raises:
        SubjectError: `task` cannot be the id of a task.
    """
    return subjects.pattern(f"result.*.*.{token(task, 'task id')}")


async def find(bus: Bus, subjects: Subjects, task: str) -> AgentMessage | None:
    """The result that the log has; None if there is none yet. A large answer in it is not fetched.

    Raises:
        BusError: the server does not answer.
    """
    on_record = pattern(subjects, task)
    newest = await jetstream.last(bus, LOG, on_record)
    if newest is None:
        return None
    # Anyone may have written the newest one.
    return parsed(newest) or await first(bus, on_record)


async def first(bus: Bus, on_record: str) -> AgentMessage | None:
    """The first result on these subjects, if there is one among what the log has there.

    Raises:
        BusError: the server does not answer.
    """
    async for msg in jetstream.stored(bus, LOG, on_record):
        if result := parsed(msg):
            return result
    return None


def parsed(msg: Msg) -> AgentMessage | None:
    """The result in a message; None if it is none."""
    with skipping(LOG, msg):
        return decode_result(msg.data)
    return None


class Waiter:
    """Waits for the result of one task."""

    def __init__(self, bus: Bus, subjects: Subjects, task: str) -> None:
        self._bus = bus
        self._subjects = subjects
        self._task = task
        self._found: AgentMessage | None = None
        self._news = asyncio.Event()

    @contextlib.asynccontextmanager
    async def subscribed(self) -> AsyncGenerator[None]:
        """From here on no result is missed: send the task in the block."""
        subject = pattern(self._subjects, self._task)
        subscription = await self._bus.subscribe(subject, self._on_result)
        try:
            with self._bus.failing(subject, self._on_failure):
                await self._bus.fence()
                yield
        finally:
            await subscription.close()

    async def get(self, *, look: bool = False) -> AgentMessage:
        """The result, as soon as there is one. With `look`, there may be one already.

        Raises:
            TaskError: it refers to an object that no longer exists.
        """
        while True:
            self._news.clear()
            with contextlib.suppress(BusError):
                if look and self._found is None:
                    await self._bus.until_connected()
                    self._found = await find(self._bus, self._subjects, self._task)
                if self._found:
                    return await whole(self._bus, self._found)
            if self._found:  # the server does not answer now
                await asyncio.sleep(_PAUSE)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._news.wait()
            look = self._found is None

    async def _on_result(self, msg: Msg) -> None:
        self._found = self._found or parsed(msg)
        self._news.set()

    def _on_failure(self, _: BusError) -> None:
        """The connection was lost: nothing repeats what was published meanwhile."""
        self._news.set()
