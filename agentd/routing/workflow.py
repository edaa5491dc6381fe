"""The stream of a workflow: a task and what follows from it, until a fact ends it, at any process.

The log has the facts, in order; it is read from the task on, whenever the server says that it has
stored something. The answers come from the streams of their tasks, one at a time: that which has
begun first. A place in the stream is a sequence of the log, and a place in the answer that is
being streamed there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Literal

from agentd.errors import BusError, Forbidden, TaskError, UsageError
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.objects import whole
from agentd.nats.records import skipping
from agentd.nats.streams import LOG
from agentd.protocol.message import AgentMessage, decode
from agentd.protocol.subjects import RUNTIME_EVENTS, Subject, Subjects, is_token
from agentd.queue.decisions import ApprovalRequest
from agentd.routing import accept, origin, results
from agentd.routing.answers import Answer, OpenTasks
from agentd.routing.ask import Delay, Waiting
from agentd.routing.follow import FollowedMessage, FollowedTask, Part, Received, topic_of
from agentd.routing.origin import Origin
from agentd.routing.place import Place
from agentd.routing.stream import StreamEvent

Kind = Literal["delta", "restart", "delay", "waiting", "fact", "idle", "end"]

# Events of agentd that say nothing to someone who waits.
_SILENT = RUNTIME_EVENTS - {"run", "approval"}
_MOST_ENTRIES = 64  # that are read before the first of them is handed on
_PAUSE = 0.05  # seconds between two looks into the log, which others write, too


@dataclass(frozen=True, kw_only=True)
class WorkflowEvent:
    """What happened.

    Attributes:
        id: the place behind this event, for `after`; "" where the place is the same as before.
        task: whose answer a delta or restart belongs to; which task is delayed or suspended.
        text: as in `StreamEvent`.
        request: what a suspended task waits for.
        topic: of a fact and of the end, for example `result.research.question`.
        message: the fact, or the message that ends the stream.
    """

    kind: Kind
    id: str = ""
    task: str = ""
    text: str = ""
    request: ApprovalRequest | None = None
    topic: str = ""
    message: AgentMessage | None = None


@dataclass(frozen=True)
class _Entry:
    """A message of the log that belongs to the workflow; `part` is None for a task."""

    sequence: int
    place: Subject
    part: Part | None
    opens: str = ""


@contextlib.asynccontextmanager
async def opened(
    bus: Bus, subjects: Subjects, task: str, *, until: str, after: str = "", idle: float = 15.0
) -> AsyncGenerator[AsyncIterator[WorkflowEvent]]:
    """What happens with a task and with those that follow from it, from the place `after` on.

    The last event is the end: the first fact that matches `until`, or the result of the task itself
    if it failed. Whenever nothing has happened for `idle` seconds, an event says so.

    Raises:
        UsageError: `after` is no place in this stream, or the log has lost the task.
        SubjectError: `task` cannot be the id of a task.
        BusError: the server does not answer, or the NATS user may not read the log.
    """
    reader = _WorkflowReader(bus, subjects, task, until)
    async with contextlib.AsyncExitStack() as stack:
        await reader.open(stack, Place.parse(after) if after else None)
        events = await stack.enter_async_context(contextlib.aclosing(reader.events(idle)))
        yield events


class _WorkflowReader:
    """Reads a workflow, for one reader."""

    def __init__(self, bus: Bus, subjects: Subjects, task: str, until: str) -> None:
        self._bus, self._subjects = bus, subjects
        self._task, self._until = task, until
        self._followed: FollowedTask | None = None
        self._origin: Origin | None = None
        self._needle = task.encode()
        # Sequences of the log: of the task, of what was read, and of what the reader was given.
        self._start = self._done = self._given = 0
        self._open = OpenTasks(bus, subjects, self._ring)
        self._answer: Answer | None = None
        self._must_look = True
        self._refused: Forbidden | None = None
        self._news = asyncio.Event()

    async def open(self, stack: contextlib.AsyncExitStack, place: Place | None) -> None:
        """Finds the task, and the tasks that are open at the place."""
        stack.push_async_callback(self._close)
        everything = self._subjects.stored(">")
        bell = await self._bus.listen(everything, self._on_stored)
        stack.push_async_callback(bell.close)
        stack.enter_context(self._bus.failing(everything, self._on_failure))
        await self._bus.fence()
        self._origin = await origin.find(self._bus, self._subjects, self._task)
        if place:
            await self._find(place.start, place.done)
            if self._start != place.start:
                raise UsageError(f"{str(place)!r} is no place in the stream of this workflow")
            await self._go_on(place)
        else:
            await self._find_at_the_beginning()

    async def events(self, idle: float) -> AsyncGenerator[WorkflowEvent]:
        while True:
            self._news.clear()
            if self._refused:
                raise self._refused
            await self._choose()
            if self._answer:
                for event in self._answer.arrived():
                    yield self._of_answer(event)
                if self._answer.is_over:
                    await self._leave_answer()
                    continue  # the next answer may have begun
            if self._must_look:
                for entry in await self._look():
                    async for event in self._read(entry):
                        yield event
                        if event.kind == "end":
                            return
                    self._given = entry.sequence
                self._given = self._done
            elif not await self._wait(idle):
                self._must_look = True  # a ring can be lost
                yield WorkflowEvent(kind="idle")

    # --- news -----------------------------------------------------------------------------------

    def _on_stored(self, msg: Msg) -> None:
        kind, domain = msg.subject.split(".")[2:4]
        if kind != "dlq" and not (kind == "event" and domain in _SILENT):
            self._must_look = True
            self._news.set()

    def _on_failure(self, error: BusError) -> None:
        """The connection was lost: nothing repeats what rang meanwhile."""
        if isinstance(error, Forbidden):
            self._refused = error
        self._open.look_again()
        self._must_look = True
        self._news.set()

    def _ring(self) -> None:
        self._news.set()

    async def _wait(self, seconds: float) -> bool:
        """Whether there are news within so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
                return True
        return False

    # --- the log --------------------------------------------------------------------------------

    async def _find_at_the_beginning(self) -> None:
        noted = await accept.noted(self._bus, self._subjects, self._task)
        entry = noted or await accept.find(self._bus, self._subjects, self._task)
        # What was remembered again stands behind the task.
        start = entry.sequence if entry and entry.mark else 1
        await self._find(start)
        if not self._followed and start != 1:
            await self._find(1)
        if self._followed:
            self._done = self._start
        elif await results.find(self._bus, self._subjects, self._task):
            text = f"the log has task {self._task} no more, so nobody knows what follows from it"
            raise UsageError(f"{text}; its result can be read")

    async def _find(self, start: int, end: int | None = None) -> None:
        """Looks for the task in the log, and for those that follow from it up to `end`."""
        pattern = self._subjects.pattern("task.>")
        async for msg in jetstream.stored(self._bus, LOG, pattern, start=start):
            sequence = _sequence(msg)
            if end is not None and sequence > end:
                return
            if found := self._task_in(msg):
                self._open.add(found)
            self._done = sequence
            if self._followed and end is None:
                return

    async def _go_on(self, place: Place) -> None:
        """Continues at a place."""
        for each in self._open.ids():
            if each != place.task and await results.find(self._bus, self._subjects, each):
                await self._open.remove(each)
        self._done = self._given = place.done
        if place.cursor and place.task in self._open.ids():
            self._answer = Answer(self._bus, self._subjects, place.task, place.cursor, self._ring)

    def _task_in(self, msg: Msg) -> str:
        """The id of the task in a message; "" if it is none of the workflow."""
        if self._needle not in msg.data:
            return ""
        with skipping(LOG, msg):
            message = decode(msg.data, type="task")
            if self._followed is None and message.id == self._task:
                self._begin(message, _sequence(msg))
            if self._followed and self._followed.has(message):
                return message.id
        return ""

    def _begin(self, task: AgentMessage, sequence: int) -> None:
        self._followed = FollowedTask(task, self._until)
        self._start = self._given = sequence
        # A token is the same in every JSON text: a message without it need not be decoded.
        correlation = self._followed.correlation
        self._needle = correlation.encode() if is_token(correlation) else b""

    async def _look(self) -> list[_Entry]:
        """What the log has that the reader has not; nothing if the server does not answer now."""
        await asyncio.sleep(_PAUSE)
        self._must_look = False
        found: list[_Entry] = []
        try:
            await self._bus.until_connected()
            if self._followed is None:
                await self._find(self._done + 1)
            if self._followed is None:
                return found
            pattern = self._subjects.everything
            async for msg in jetstream.stored(self._bus, LOG, pattern, start=self._done + 1):
                self._done = _sequence(msg)
                if entry := self._entry(msg, self._followed):
                    found.append(entry)
                if len(found) == _MOST_ENTRIES:
                    self._must_look = True
                    break
        except Forbidden:
            raise
        except BusError:
            self._must_look = True
        return found

    def _entry(self, msg: Msg, followed: FollowedTask) -> _Entry | None:
        if self._needle not in msg.data:
            return None
        with skipping(LOG, msg):
            subject = (msg.headers or {})["Nats-Subject"]
            place = Subject.nearest(subject)
            if place.type == "task":
                opens = self._task_in(msg)
                return _Entry(_sequence(msg), place, None, opens) if opens else None
            part = followed.read(Received(subject, msg.data))
            return _Entry(_sequence(msg), place, part) if part else None
        return None

    async def _read(self, entry: _Entry) -> AsyncIterator[WorkflowEvent]:
        if entry.opens:
            self._open.add(entry.opens)
        ended = entry.place.task_id
        if ended == self._task and self._origin and str(entry.place) not in self._origin.results:
            return  # of another task of the same id
        if ended:
            # All pieces of an answer come before its result.
            if self._answer and self._answer.task == ended:
                async for event in self._answer.rest():
                    yield self._of_answer(event)
                await self._leave_answer()
            await self._open.remove(ended)
        if event := await self._event(entry):
            yield event

    async def _event(self, entry: _Entry) -> WorkflowEvent | None:
        task, here = entry.place.specificity, self._here(entry.sequence)
        match entry.part:
            case Waiting(request):
                return WorkflowEvent(kind="waiting", id=here, task=task, request=request)
            case Delay(text):
                return WorkflowEvent(kind="delay", id=here, task=task, text=text)
            case FollowedMessage(topic, message):
                with contextlib.suppress(TaskError):  # then it names what is missing
                    message = await whole(self._bus, message)
                return WorkflowEvent(kind="fact", id=here, topic=topic, message=message)
            case AgentMessage() as end:
                topic = topic_of(entry.place)
                message = await whole(self._bus, end)
                return WorkflowEvent(kind="end", id="end", topic=topic, message=message)
            case _:
                return None

    # --- the answer -----------------------------------------------------------------------------

    async def _choose(self) -> None:
        """Streams the answer that has begun first, unless one is streamed."""
        try:
            task = None if self._answer else await self._open.begun()
        except Forbidden:
            raise
        except BusError:  # the next look waits for the connection
            self._must_look = True
            return
        if task:
            self._answer = Answer(self._bus, self._subjects, task, "", self._ring)

    def _of_answer(self, event: StreamEvent) -> WorkflowEvent:
        kind: Kind = "delta" if event.kind == "delta" else "restart"
        task = self._answer.task if self._answer else ""
        return WorkflowEvent(kind=kind, id=self._here(self._given), task=task, text=event.text)

    def _here(self, sequence: int) -> str:
        answer = (self._answer.task, self._answer.cursor) if self._answer else ("", "")
        return str(Place(self._start, sequence, *answer))

    async def _leave_answer(self) -> None:
        if answer := self._answer:
            self._answer = None
            await answer.close()
            await self._open.remove(answer.task)

    async def _close(self) -> None:
        if self._answer:
            await self._answer.close()
        await self._open.close()


def _sequence(msg: Msg) -> int:
    return int((msg.headers or {})["Nats-Sequence"])
