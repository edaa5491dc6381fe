"""Waits for what ends the work of a task: its result, or the fact that a trigger names."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.objects import whole
from agentd.nats.records import skipping
from agentd.nats.streams import LOG
from agentd.protocol.message import AgentMessage, decode
from agentd.protocol.result import decode_result, is_success
from agentd.protocol.subjects import RUNTIME_EVENTS, Subjects, matches
from agentd.routing.accept import Acceptance
from agentd.routing.results import Own, Waiter

_LOOK = 5.0  # seconds between two looks into the log: a ring can be lost with the connection


class Work:
    """A task, and what follows from it.

    Args:
        until: the fact that ends the work; None for the result of the task.
        start: a sequence in the log before that fact.
        acceptance: how the task was accepted; it is looked up if it is not given.
    """

    def __init__(
        self,
        bus: Bus,
        subjects: Subjects,
        task_id: str,
        *,
        until: str | None = None,
        start: int = 1,
        acceptance: Acceptance | None = None,
    ) -> None:
        self._bus = bus
        self._subjects = subjects
        self._task_id = task_id
        self._until = until
        self._start = start
        self._acceptance = acceptance

    async def end(self, timeout: float) -> AgentMessage | None:
        """The message that ends the work; None if there is none within `timeout` seconds.

        Raises:
            BusError: the log does not answer.
            TaskError: the content of the message was stored as an object, and is not there.
        """
        if self._until is None:
            waiter = Waiter(self._bus, self._subjects, self._task_id)
            async with waiter.subscribed():
                return await waiter.get(timeout, self._acceptance, look=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                return await self._fact(self._until)
        return None

    async def _fact(self, until: str) -> AgentMessage:
        own = Own(self._bus, self._subjects, self._task_id)
        if self._acceptance:
            own.accepted(self._acceptance)
        pattern = f"{until}.*" if until.startswith("result.") else until
        async with self._bell(pattern) as bell:
            while True:
                bell.clear()
                result = await own.recorded()
                if result and not is_success(result):
                    return result  # nothing follows from it
                if found := await self._look(self._subjects.pattern(pattern), until):
                    return await whole(self._bus, found)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK):
                        await bell.wait()

    @contextlib.asynccontextmanager
    async def _bell(self, facts: str) -> AsyncGenerator[asyncio.Event]:
        """Set when the log has stored what may be the end."""
        bell = asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            for pattern in (f"result.*.*.{self._task_id}", facts):
                stored = self._subjects.stored(pattern)
                ringing = await self._bus.listen(stored, lambda _: bell.set())
                stack.push_async_callback(ringing.close)
            await self._bus.fence()
            yield bell

    async def _look(self, subject: str, until: str) -> AgentMessage | None:
        """The fact, if the log has it."""
        async for msg in jetstream.stored(self._bus, LOG, subject, start=self._start):
            if (found := _decoded(msg)) and self._is_until(msg, found, until):
                return found
            # A look after this one begins behind what this one has seen.
            self._start = int((msg.headers or {})["Nats-Sequence"]) + 1
        return None

    def _is_until(self, msg: Msg, found: AgentMessage, until: str) -> bool:
        subject = self._subjects.relative((msg.headers or {})["Nats-Subject"])
        kind, domain, specificity, *rest = subject.split(".")
        follows = rest == [self._task_id] or found.correlation_id == self._task_id
        topic = f"{kind}.{domain}.{specificity}"
        return follows and domain not in RUNTIME_EVENTS and matches(until, topic)


def _decoded(msg: Msg) -> AgentMessage | None:
    """The message; None for one that cannot be read: anyone may publish there."""
    with skipping(LOG, msg):
        message = decode(msg.data)
        return decode_result(msg.data) if message.type == "result" else message
    return None
