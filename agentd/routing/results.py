"""The result of a task, found by the id of the task alone.

Another task of the same id has a result, too: `origin` says which one counts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from agentd.errors import BusError
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.objects import whole
from agentd.nats.records import skipping
from agentd.nats.streams import LOG
from agentd.protocol.message import AgentMessage
from agentd.protocol.result import decode_result
from agentd.protocol.subjects import Subjects, token
from agentd.routing import origin
from agentd.routing.accept import Acceptance
from agentd.routing.origin import Origin

_LOOK = 15.0  # seconds between two searches of the log for a result whose message was lost
_PAUSE = 0.2  # seconds until a server that did not answer is asked again
_OFFERED = 16  # results that wait until it is known which one counts; the rest is in the log


def pattern(subjects: Subjects, task: str) -> str:
    """The subjects that the result of a task may have.

    Raises:
        SubjectError: `task` cannot be the id of a task.
    """
    return subjects.pattern(f"result.*.*.{token(task, 'task id')}")


async def find(
    bus: Bus, subjects: Subjects, task: str, known: Origin | None = None
) -> AgentMessage | None:
    """The result that the log has; None if there is none yet. A large answer in it is not fetched.
    `known` is the origin of the task, for who knows it.

    Raises:
        BusError: the server does not answer.
    """
    on_record = pattern(subjects, task)
    if await jetstream.last(bus, LOG, on_record) is None:
        return None
    found = known or await origin.find(bus, subjects, task)
    if found is None or not found.accepted:
        # A result before the first task that was found is that of an earlier one, which the log
        # no longer has, or which is too old for a search.
        async for sequence, result in _on_record(bus, on_record):
            if found is None or sequence < found.sequence:
                return result
            break
    for subject in found.results if found else ():
        if result := await first(bus, subject):
            return result
    return None


async def first(bus: Bus, on_record: str) -> AgentMessage | None:
    """The first result on these subjects, if there is one among what the log has there.

    Raises:
        BusError: the server does not answer.
    """
    async for _, result in _on_record(bus, on_record):
        return result
    return None


async def _on_record(bus: Bus, on_record: str) -> AsyncIterator[tuple[int, AgentMessage]]:
    """The results on these subjects, with their sequences. Anyone may have written something else
    there."""
    async for msg in jetstream.stored(bus, LOG, on_record):
        if result := parsed(msg):
            yield int((msg.headers or {})["Nats-Sequence"]), result


def parsed(msg: Msg) -> AgentMessage | None:
    """The result in a message; None if it is none."""
    with skipping(LOG, msg):
        return decode_result(msg.data)
    return None


class Own:
    """The result of one task, among the results of all tasks of its id."""

    def __init__(self, bus: Bus, subjects: Subjects, task: str) -> None:
        self._bus = bus
        self._subjects = subjects
        self._task = task
        self._origin: Origin | None = None
        self._offered: list[Msg] = []

    def accepted(self, acceptance: Acceptance) -> None:
        """Says how the task was accepted, so that this need not be looked up."""
        self._origin = origin.of(acceptance, self._subjects)

    def offer(self, msg: Msg) -> bool:
        """Takes a message that may be the result; False if too many wait already."""
        has_room = len(self._offered) < _OFFERED
        if has_room:
            self._offered.append(msg)
        return has_room

    async def offered(self) -> AgentMessage | None:
        """The result, if it was offered. The task must be stored.

        Raises:
            BusError: the server does not answer.
        """
        if not self._offered:
            return None
        self._origin = self._origin or await origin.find(self._bus, self._subjects, self._task)
        offered, self._offered = self._offered, []
        for msg in offered:
            is_own = self._origin is None or msg.subject in self._origin.results
            if is_own and (result := parsed(msg)):
                return result
        return None

    async def recorded(self) -> AgentMessage | None:
        """The result, if the log has it.

        Raises:
            BusError: the server does not answer.
        """
        return await find(self._bus, self._subjects, self._task, self._origin)


class Waiter:
    """Waits for the result of one task."""

    def __init__(self, bus: Bus, subjects: Subjects, task: str) -> None:
        self._bus = bus
        self._subjects = subjects
        self._task = task
        self._own = Own(bus, subjects, task)
        self._found: AgentMessage | None = None
        self._given_up = False
        self._must_look = False
        self._news = asyncio.Event()

    @contextlib.asynccontextmanager
    async def subscribed(self) -> AsyncGenerator[None]:
        """From here on no result is missed: send the task in the block, over the same connection,
        so that the server learns of the subscription before the task."""
        subject = pattern(self._subjects, self._task)
        subscription = await self._bus.listen(subject, self._on_result)
        try:
            with self._bus.failing(subject, self._on_failure):
                yield
        finally:
            await subscription.close()

    async def get(
        self, seconds: float, acceptance: Acceptance | None, *, look: bool = False
    ) -> AgentMessage | None:
        """The result of the task as soon as there is one; None if there is none within so many
        seconds, or before `give_up`. With `look`, there may be one already. How the task was
        accepted is looked up if it is not given.

        Raises:
            TaskError: it refers to an object that no longer exists.
        """
        if acceptance:
            self._own.accepted(acceptance)
        self._must_look |= look
        try:
            async with asyncio.timeout(seconds):
                return await self._get()
        except TimeoutError:
            return None

    def give_up(self) -> None:
        """Ends `get`."""
        self._given_up = True
        self._news.set()

    async def _get(self) -> AgentMessage | None:
        while not self._given_up:
            self._news.clear()
            try:
                self._found = self._found or await self._next()
                if self._found:
                    return await whole(self._bus, self._found)
                pause = _LOOK
            except BusError:  # the server does not answer now
                self._must_look, pause = True, _PAUSE
            # Then the log is asked.
            timer = asyncio.get_running_loop().call_later(pause, self._look)
            try:
                await self._news.wait()
            finally:
                timer.cancel()
        return None

    async def _next(self) -> AgentMessage | None:
        """The result, if it has come."""
        if not self._must_look:
            return await self._own.offered()
        await self._bus.until_connected()
        self._must_look = False  # before the look: the connection may be lost again meanwhile
        found = await self._own.recorded()
        return found or await self._own.offered()

    def _on_result(self, msg: Msg) -> None:
        self._must_look |= not self._own.offer(msg)
        self._news.set()

    def _on_failure(self, _: BusError) -> None:
        self._look()  # core NATS does not repeat what was lost with the connection

    def _look(self) -> None:
        self._must_look = True
        self._news.set()
