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
from agentd.protocol.subjects import RUNTIME_EVENTS, Subjects, matches
from agentd.routing import results

_LOOK = 5.0  # seconds between two looks into the log: a ring can be lost with the connection


class Work:
    """A task, and what follows from it.

    Args:
        until: the fact that ends the work; None for the result of the task.
        start: a sequence in the log before that fact.
    """

    def __init__(
        self,
        bus: Bus,
        subjects: Subjects,
        task_id: str,
        *,
        until: str | None = None,
        start: int = 1,
    ) -> None:
        self._bus = bus
        self._subjects = subjects
        self._task_id = task_id
        self._until = until
        self._start = start

    async def end(
        self, timeout: float, *, stopping: asyncio.Event | None = None
    ) -> AgentMessage | None:
        """The message that ends the work; None if there is none within `timeout` seconds, or when
        `stopping` is set.

        Raises:
            BusError: the log does not answer.
            TaskError: the content of the message was stored as an object, and is not there.
        """
        stop = stopping or asyncio.Event()
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout
        async with self._bell() as bell:
            while True:
                bell.clear()
                if found := await self._look():
                    return await whole(self._bus, found)
                left = deadline - clock()
                if left <= 0 or stop.is_set():
                    return None
                await _first_of(bell, stop, timeout=min(left, _LOOK))

    @contextlib.asynccontextmanager
    async def _bell(self) -> AsyncGenerator[asyncio.Event]:
        """Set when the log has stored what may be the end."""
        bell = asyncio.Event()

        async def ring(_: Msg) -> None:
            bell.set()

        patterns = [f"result.*.*.{self._task_id}", *self._facts()]
        async with contextlib.AsyncExitStack() as stack:
            for pattern in patterns:
                ringing = await self._bus.subscribe(self._subjects.stored(pattern), ring)
                stack.push_async_callback(ringing.close)
            await self._bus.fence()
            yield bell

    def _facts(self) -> list[str]:
        """The pattern of the facts that may end it, below `agents.{env}.`."""
        if self._until is None:
            return []
        return [f"{self._until}.*" if self._until.startswith("result.") else self._until]

    async def _look(self) -> AgentMessage | None:
        result = await results.find(self._bus, self._subjects, self._task_id)
        if result and self._ends(result):
            return result
        for pattern in self._facts():
            subject = self._subjects.pattern(pattern)
            async for msg in jetstream.stored(self._bus, LOG, subject, start=self._start):
                if (found := self._decoded(msg)) and self._is_until(msg, found):
                    return found
                # A look after this one begins behind what this one has seen.
                self._start = int((msg.headers or {})["Nats-Sequence"]) + 1
        return None

    def _ends(self, result: AgentMessage) -> bool:
        """Whether the result of the task ends the work: nothing follows from one that failed."""
        return self._until is None or not is_success(result)

    def _is_until(self, msg: Msg, found: AgentMessage) -> bool:
        subject = self._subjects.relative((msg.headers or {})["Nats-Subject"])
        kind, domain, specificity, *rest = subject.split(".")
        follows = rest == [self._task_id] or found.correlation_id == self._task_id
        topic = f"{kind}.{domain}.{specificity}"
        return follows and domain not in RUNTIME_EVENTS and matches(self._until or "", topic)

    def _decoded(self, msg: Msg) -> AgentMessage | None:
        """The message; None for one that cannot be read: anyone may publish there."""
        with skipping(LOG, msg):
            return decode(msg.data)
        return None


def is_success(message: AgentMessage) -> bool:
    """Whether a message is an event, or the result of a task that succeeded."""
    content = message.payload.content
    return message.type != "result" or (isinstance(content, dict) and bool(content.get("success")))


def data_of(message: AgentMessage) -> object:
    """The answer in a result, or the content of an event."""
    content = message.payload.content
    return content.get("data") if message.type == "result" else content


def error_of(message: AgentMessage) -> tuple[str, str]:
    """The code and the text of a result that is an error. Anyone may have published it."""
    content = message.payload.content
    error = content.get("error") if isinstance(content, dict) else None
    fields = error if isinstance(error, dict) else {}
    return str(fields.get("code", "failed"))[:64], str(fields.get("message", ""))


async def _first_of(*events: asyncio.Event, timeout: float) -> None:
    """Returns when one of the events is set, or after `timeout` seconds."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
