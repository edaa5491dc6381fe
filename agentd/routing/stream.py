"""The stream of one task, which any process can go on with: pieces, delays, and last the result.

The pieces come from core NATS as soon as they are published. What a reader missed is read from
CHUNKS, and a result from the log: before the first piece, after a lost connection, and where the
reader was too slow. A place in a stream is the id of a delta, so no process needs to know it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Literal

from agentd.errors import BusError, DecodeError, Forbidden
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.objects import whole
from agentd.nats.records import skipping
from agentd.nats.streams import CHUNKS
from agentd.protocol.message import AgentMessage, decode
from agentd.protocol.subjects import Subjects
from agentd.queue import decisions
from agentd.queue.decisions import ApprovalRequest
from agentd.routing import results
from agentd.routing.ask import Delay, Waiting, event_in
from agentd.routing.pieces import AnswerReader, Piece, Restart, Step

Kind = Literal["delta", "restart", "delay", "waiting", "idle", "result"]

_MOST = 256  # messages that wait for a slow reader; the rest is read again from the streams
_PAUSE = 0.2  # seconds until a server that did not answer is asked again
_PAUSES = (0.0, 0.05, 0.25)  # seconds before CHUNKS has a piece that was sent before another


@dataclass(frozen=True)
class StreamEvent:
    """What happened.

    Attributes:
        id: the place behind this event, for `after`; "" where the place is the same as before.
        text: of a delta the piece; of a restart or delay why, in words.
        turn: which turn of the model wrote a delta, from 1. After a restart, a higher one says that
            the turn before called tools or was corrected; the same one, that the run was repeated.
        request: what a suspended task waits for.
        message: the result.
    """

    kind: Kind
    id: str = ""
    text: str = ""
    turn: int = 1
    request: ApprovalRequest | None = None
    message: AgentMessage | None = None


async def events(
    bus: Bus, subjects: Subjects, task: str, *, after: str = "", idle: float = 15.0
) -> AsyncIterator[StreamEvent]:
    """What happens with a task, from the place `after` on; the last event is the result.

    The pieces since the last `restart` add up to the answer. If there are none, only the result
    has it. Whenever nothing has happened for `idle` seconds, an event says so. There is no end
    without a result: also not for a task that does not exist.

    Raises:
        UsageError: `after` is no place in a stream.
        SubjectError: `task` cannot be the id of a task.
        Forbidden: the permissions of the NATS user do not allow to read it.
        TaskError: the result refers to an object that no longer exists.
    """
    async with opened(bus, subjects, task, after=after, idle=idle) as stream:
        async for event in stream:
            yield event


@contextlib.asynccontextmanager
async def opened(
    bus: Bus,
    subjects: Subjects,
    task: str,
    *,
    after: str = "",
    idle: float = 15.0,
    fresh: bool = False,
    own: results.Own | None = None,
) -> AsyncGenerator[AsyncIterator[StreamEvent]]:
    """`events`, with the subscriptions made before the block begins. With `fresh`, the task is sent
    in the block: then nothing is looked up first. The sender gives `own`, and reports to it how the
    task was accepted."""
    reader = _TaskReader(bus, subjects, task, after, own or results.Own(bus, subjects, task))
    async with contextlib.AsyncExitStack() as stack:
        await reader.open(stack, look=not fresh)
        async with contextlib.aclosing(reader.events(idle)) as stream:
            yield stream


class _TaskReader:
    """Reads all that concerns one task, for one reader."""

    def __init__(
        self, bus: Bus, subjects: Subjects, task: str, after: str, own: results.Own
    ) -> None:
        self._bus = bus
        self._subjects = subjects
        self._task = task
        self._answer = AnswerReader(after)
        self._stream = subjects.stream(task)
        self._pieces: deque[Msg] = deque()
        self._notes: deque[Msg] = deque(maxlen=_MOST)
        self._own = own
        self._end: AgentMessage | None = None
        self._refused: Forbidden | None = None
        self._must_look = False
        self._read_to = 0  # the last sequence of CHUNKS that was read
        self._news = asyncio.Event()

    async def open(self, stack: contextlib.AsyncExitStack, *, look: bool) -> None:
        """Subscribes. With `look`, what has happened before is read first."""
        self._must_look = look
        subscriptions = {
            self._stream: self._on_piece,
            self._subjects.event("run", self._task): self._on_note,
            self._subjects.event("approval", self._task): self._on_note,
            results.pattern(self._subjects, self._task): self._on_result,
        }
        for subject, handler in subscriptions.items():
            subscription = await self._bus.listen(subject, handler)
            stack.push_async_callback(subscription.close)
            stack.enter_context(self._bus.failing(subject, self._on_failure))
        if look:
            # The server must know the subscriptions before anything is looked up. It learns of them
            # before a task that is sent over the same connection.
            await self._bus.fence()

    async def events(self, idle: float) -> AsyncGenerator[StreamEvent]:
        while True:
            self._news.clear()
            if self._refused:
                raise self._refused
            if self._must_look:
                async for event in self._looked_up():
                    yield event
            await self._take_result()
            while self._pieces:
                async for event in self._piece(self._pieces.popleft()):
                    yield event
            while self._notes:
                if event := _note(self._notes.popleft()):
                    yield event
            if self._end and (result := await self._whole(self._end)):
                async for event in self._ending(result):
                    yield event
                return
            if not await self._wait(idle):
                yield StreamEvent("idle")
                await self._find_result()

    # --- from core NATS -------------------------------------------------------------------------

    def _on_piece(self, msg: Msg) -> None:
        if len(self._pieces) < _MOST:
            self._pieces.append(msg)
        else:
            self._must_look = True
            self._pieces.clear()
        self._news.set()

    def _on_note(self, msg: Msg) -> None:
        self._notes.append(msg)
        self._news.set()

    def _on_result(self, msg: Msg) -> None:
        self._must_look |= not self._own.offer(msg)
        self._news.set()

    def _on_failure(self, error: BusError) -> None:
        """The connection was lost: nothing repeats what was published meanwhile."""
        self._must_look = True
        if isinstance(error, Forbidden):
            self._refused = error
        self._news.set()

    async def _wait(self, seconds: float) -> bool:
        """Whether there are news within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    async def _piece(self, msg: Msg) -> AsyncIterator[StreamEvent]:
        piece = _parsed(msg)
        if piece is None:
            return
        for pause in _PAUSES:
            if self._answer.relation(piece) != "gap":
                break
            # Core NATS and CHUNKS get it at the same time, and CHUNKS takes a moment to store it.
            await asyncio.sleep(pause)
            for event in await self._recorded():
                yield event
        else:
            for event in _as_events(self._answer.lose(piece.run)):
                yield event
        for event in _as_events(self._answer.take(piece)):
            yield event

    # --- from the streams -----------------------------------------------------------------------

    async def _looked_up(self) -> AsyncIterator[StreamEvent]:
        """What was recorded while this reader did not listen."""
        self._must_look = False
        try:
            await self._bus.until_connected()
            await self._find_result()
            # A reader that has nothing takes the answer from the result.
            events = [] if self._end and self._answer.is_empty else await self._recorded()
            request = None if self._end else await self._open_request()
        except Forbidden:
            raise
        except BusError:  # the connection is lost again
            await self._look_again()
            return
        for event in events:
            yield event
        if request:
            yield StreamEvent("waiting", request=request)

    async def _find_result(self) -> None:
        if self._end is None:
            with contextlib.suppress(BusError):  # the next search may find it
                self._end = await self._own.recorded()

    async def _take_result(self) -> None:
        try:
            self._end = self._end or await self._own.offered()
        except Forbidden:
            raise
        except BusError:
            await self._look_again()

    async def _recorded(self) -> list[StreamEvent]:
        """What CHUNKS has that the reader has not."""
        pieces: list[Piece] = []
        start = self._read_to + 1
        try:
            async for msg in jetstream.stored(self._bus, CHUNKS, self._stream, start=start):
                self._read_to = int((msg.headers or {})["Nats-Sequence"])
                if piece := _parsed(msg):
                    pieces.append(piece)
        except Forbidden:
            raise
        except BusError:
            await self._look_again()
        return list(_as_events(self._answer.catch_up(pieces)))

    async def _open_request(self) -> ApprovalRequest | None:
        dialogue = await decisions.read(self._bus, self._subjects, self._task)
        newest = dialogue.requests[-1] if dialogue.requests else None
        return newest if newest and not dialogue.is_decided(newest) else None

    async def _whole(self, result: AgentMessage) -> AgentMessage | None:
        """The result with a large answer; None if the server does not answer now."""
        try:
            return await whole(self._bus, result)
        except BusError:
            await self._look_again()
            return None

    async def _look_again(self) -> None:
        """Has everything looked up again, in a moment."""
        self._must_look = True
        self._news.set()
        await asyncio.sleep(_PAUSE)

    async def _ending(self, result: AgentMessage) -> AsyncIterator[StreamEvent]:
        if not (self._answer.complete or self._answer.is_empty):
            with contextlib.suppress(BusError):  # what is missing, the result has
                for event in await self._recorded():
                    yield event
        for event in _as_events(self._answer.end(result)):
            yield event
        yield StreamEvent("result", id="result", message=result)


def _parsed(msg: Msg) -> Piece | None:
    with skipping(CHUNKS, msg):
        return Piece.parse(msg.data)
    return None


def _note(msg: Msg) -> StreamEvent | None:
    """What an event of the run says to someone who waits."""
    try:
        part = event_in(decode(msg.data).payload.content)
    except DecodeError:
        return None
    match part:
        case Waiting(request):
            return StreamEvent("waiting", request=request)
        case Delay(text):
            return StreamEvent("delay", text=text)
        case None:
            return None


def _as_events(steps: Iterator[Step]) -> Iterator[StreamEvent]:
    for step in steps:
        if isinstance(step, Restart):
            yield StreamEvent("restart", id=step.cursor, text=step.why)
        else:
            yield StreamEvent("delta", id=step.cursor, text=step.text, turn=step.turn)
