"""The answers of a workflow: which open task has begun to answer, and the one that is streamed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from agentd.errors import AgentdError, Unheard
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg, Subscription
from agentd.nats.streams import CHUNKS
from agentd.protocol.subjects import Subjects
from agentd.routing import stream
from agentd.routing.stream import StreamEvent

_MOST_OPEN = 256  # tasks that are watched; of others there is only the result
_PATIENCE = 5.0  # seconds until the end of an answer whose result the log has
_AHEAD = 16  # events of an answer that are read before the reader takes them


class OpenTasks:
    """Tasks without a result, and which of them have begun to answer; `ring` is called when one
    begins."""

    def __init__(self, bus: Bus, subjects: Subjects, ring: Callable[[], None]) -> None:
        self._bus, self._subjects, self._ring = bus, subjects, ring
        self._open: dict[str, Subscription | None] = {}
        self._unknown: dict[str, None] = {}  # they may have begun before anyone listened
        self._begun: dict[str, None] = {}

    def add(self, task: str) -> None:
        """A task is open from now on."""
        if task not in self._open and len(self._open) < _MOST_OPEN:
            self._open[task] = None
            self._unknown[task] = None

    async def remove(self, task: str) -> None:
        """A task has its result, or its answer was streamed."""
        self._unknown.pop(task, None)
        self._begun.pop(task, None)
        if subscription := self._open.pop(task, None):
            await subscription.close()

    def look_again(self) -> None:
        """The connection was lost: any of them may have begun."""
        self._unknown.update(dict.fromkeys(self._open))

    def ids(self) -> Sequence[str]:
        """The open tasks, as they were stored."""
        return list(self._open)

    async def begun(self) -> str | None:
        """The task whose answer has begun first.

        Raises:
            BusError: the server does not answer.
        """
        for task in list(self._unknown):
            subject = self._subjects.stream(task)
            if self._open[task] is None:
                self._open[task] = await self._bus.listen(subject, self._on_piece)
            with contextlib.suppress(Unheard):  # no CHUNKS
                if await jetstream.last(self._bus, CHUNKS, subject):
                    self._begun[task] = None
            self._unknown.pop(task, None)
        return next(iter(self._begun), None)

    async def close(self) -> None:
        """Watches none of them any more."""
        for task in self.ids():
            await self.remove(task)

    def _on_piece(self, msg: Msg) -> None:
        task = msg.subject.rpartition(".")[2]
        if task in self._open and task not in self._begun:
            self._begun[task] = None
            self._ring()


class Answer:
    """The answer of one task, as it is streamed from the place `cursor` on; `ring` is called when
    there is more of it."""

    def __init__(
        self, bus: Bus, subjects: Subjects, task: str, cursor: str, ring: Callable[[], None]
    ) -> None:
        self.task, self.cursor = task, cursor
        self._bus, self._subjects, self._ring = bus, subjects, ring
        self._events: asyncio.Queue[StreamEvent] = asyncio.Queue(_AHEAD)
        self._more = asyncio.Event()
        self._reading = asyncio.ensure_future(self._read(cursor))
        self._reading.add_done_callback(lambda _: self._tell())

    @property
    def is_over(self) -> bool:
        """Whether no more of it comes."""
        return self._reading.done() and self._events.empty()

    def arrived(self) -> Iterator[StreamEvent]:
        """The pieces and restarts that have arrived."""
        while not self._events.empty():
            event = self._events.get_nowait()
            self.cursor = event.id or self.cursor
            yield event

    async def rest(self) -> AsyncIterator[StreamEvent]:
        """All of it up to its end: the log has a result."""
        while True:
            self._more.clear()
            for event in self.arrived():
                yield event
            if self.is_over:
                return
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._more.wait()
            except TimeoutError:
                return  # that result was of another task of the same id

    async def close(self) -> None:
        """Reads no more of it."""
        self._reading.cancel()
        await asyncio.wait({self._reading})

    async def _read(self, cursor: str) -> None:
        # What cannot be streamed, for example to an answer that was deleted, the log names.
        with contextlib.suppress(AgentdError):
            opened = stream.opened(self._bus, self._subjects, self.task, after=cursor)
            async with opened as events:
                async for event in events:
                    if event.kind in ("delta", "restart"):
                        await self._events.put(event)
                        self._tell()

    def _tell(self) -> None:
        self._more.set()
        self._ring()
