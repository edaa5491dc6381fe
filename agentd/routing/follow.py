"""Follows a task beyond its own result: yields what agents make of it, until a fact ends it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from agentd.errors import BusError, DecodeError, SubjectError
from agentd.nats.bus import Bus, Msg
from agentd.nats.jetstream import stored
from agentd.nats.objects import whole
from agentd.nats.streams import LOG
from agentd.protocol.destination import Destination
from agentd.protocol.message import AgentMessage, decode
from agentd.protocol.result import decode_result, is_success
from agentd.protocol.subjects import RUNTIME_EVENTS, Subject, Subjects, matches
from agentd.routing.ask import Delay, Delta, Waiting, event_in, no_answer, send, state_after

_FOLLOWED = frozenset({"result", "event", "stream"})  # types of messages
_LOOK = 2.0  # seconds between two searches of the log for an end whose message was lost


@dataclass(frozen=True)
class FollowedMessage:
    """A result or an event before the end. `topic` is for example `result.research.question`."""

    topic: str
    message: AgentMessage


Part = Delta | Delay | Waiting | FollowedMessage | AgentMessage


@dataclass(frozen=True)
class Received:
    """A message and its public subject, as it was published or as the log has it."""

    subject: str
    data: bytes


async def follow(
    bus: Bus,
    subjects: Subjects,
    to: Destination,
    message: AgentMessage,
    *,
    until: str,
    timeout: float,
) -> AsyncIterator[Part]:
    """Sends a task and yields what follows from it, in the order in which the server sent it.

    The last part is the message that ends it: the first fact that matches `until`, a pattern as in
    `subscribe`; or the result of the task itself if it failed, since nothing follows from that.
    While one answer is streamed, the deltas of others are left out.

    Raises:
        TaskError: no such fact within `timeout` seconds (code `no_answer`), or as `send`.
        BusError: the task was not stored.
    """
    followed, last = FollowedTask(message, until), None
    clock = asyncio.get_running_loop().time
    async with _receiving(bus, subjects) as received:
        start = await send(bus, subjects, to, message)
        deadline, look = clock() + timeout, clock() + _LOOK
        while (now := clock()) < deadline:
            if now >= look:
                # Behind what has been received, so that nothing before the end is left out.
                if end := await _end_in_log(bus, subjects, followed, start):
                    received.put_nowait(end)
                look = clock() + _LOOK
            each = await _next(received, min(deadline, look) - clock())
            part = followed.read(each) if each else None
            if isinstance(part, AgentMessage):
                yield await whole(bus, part)
                return
            if part:
                last = part
                yield part
    if isinstance(last, FollowedMessage):
        state = f"{last.topic} of {last.message.source.id} came last"
    else:
        state = state_after(last)
    raise no_answer(f"no {until}", message, timeout, state)


@contextlib.asynccontextmanager
async def _receiving(bus: Bus, subjects: Subjects) -> AsyncGenerator[asyncio.Queue[Received]]:
    """The results, events and deltas of the environment, in the order of the server."""
    received: asyncio.Queue[Received] = asyncio.Queue()

    async def receive(msg: Msg) -> None:
        if msg.subject.split(".")[2] in _FOLLOWED:
            received.put_nowait(Received(msg.subject, msg.data))

    # One subscription, although it also brings tasks. nats-py handles each subscription in an
    # asyncio task: with one for each type, a result could overtake the deltas that precede it.
    subscription = await bus.subscribe(subjects.everything, receive)
    try:
        await bus.fence()
        yield received
    finally:
        await subscription.close()


async def _next(received: asyncio.Queue[Received], seconds: float) -> Received | None:
    try:
        async with asyncio.timeout(seconds):
            return await received.get()
    except TimeoutError:
        return None


async def _end_in_log(
    bus: Bus, subjects: Subjects, followed: FollowedTask, start: int
) -> Received | None:
    """The message that ends it, if the log has it from sequence `start` on."""
    with contextlib.suppress(BusError):  # no server: the next search may find it
        for topic in (f"result.*.*.{followed.task.id}", followed.end_subject):
            async for msg in stored(bus, LOG, subjects.pattern(topic), start=start):
                found = Received((msg.headers or {})["Nats-Subject"], msg.data)
                if followed.is_end(found):
                    return found
    return None


class FollowedTask:
    """Decides which messages follow from a task, and which one ends it."""

    def __init__(self, task: AgentMessage, until: str) -> None:
        self.task = task
        self.correlation = task.correlation_id or task.id
        self.end_subject = f"{until}.*" if until.startswith("result.") else until
        self._until = until
        self._streaming: str | None = None  # the task whose answer is streamed
        self._has_streamed = False

    def has(self, message: AgentMessage) -> bool:
        """Whether a message is the task, or follows from it."""
        same = message.context.conversation_id == self.task.context.conversation_id
        follows = self.correlation in (message.id, message.correlation_id)
        return same and follows

    def is_end(self, received: Received) -> bool:
        """Whether this message ends it. Unlike `read`, this changes nothing."""
        return (found := self._parse(received)) is not None and self._ends(*found)

    def read(self, received: Received) -> Part | None:
        """The part that a message is: the message itself if it is the end, None if it does not
        belong to the task."""
        found = self._parse(received)
        if found is None:
            return None
        place, message = found
        if place.type == "stream":
            return self._delta(place, message)
        if place.domain in ("approval", "run"):
            return event_in(message.payload.content)
        return self._fact(place, message)

    def _parse(self, received: Received) -> tuple[Subject, AgentMessage] | None:
        """The message, if it is a valid one of the task's conversation."""
        try:
            place = Subject.parse(received.subject)
            read = decode_result if place.type == "result" else decode
            message = read(received.data)
        except (SubjectError, DecodeError):
            return None
        same = message.context.conversation_id == self.task.context.conversation_id
        return (place, message) if same else None

    def _delta(self, place: Subject, message: AgentMessage) -> Delta | None:
        piece = message.payload
        if piece.sequence_number == 0 and self._streaming is None:
            self._streaming = place.task_id
        if self._streaming != place.task_id:
            return None
        restarted = self._has_streamed and piece.sequence_number == 0
        self._has_streamed = True
        if piece.is_final:
            self._streaming = None
        return Delta(piece.chunk or "", restarted, piece.turn or 1)

    def _fact(self, place: Subject, message: AgentMessage) -> FollowedMessage | AgentMessage | None:
        if not self._follows(place, message):
            return None
        if place.task_id == self._streaming:
            self._streaming = None  # the final delta was lost: core NATS does not repeat it
        if self._ends(place, message):
            return message
        return FollowedMessage(topic_of(place), message)

    def _follows(self, place: Subject, message: AgentMessage) -> bool:
        return message.correlation_id == self.correlation and place.domain not in RUNTIME_EVENTS

    def _ends(self, place: Subject, message: AgentMessage) -> bool:
        if place.type == "stream" or not self._follows(place, message):
            return False
        is_own = place.type == "result" and place.task_id == self.task.id
        failed = is_own and not is_success(message)
        return failed or matches(self._until, topic_of(place))


def topic_of(place: Subject) -> str:
    """The name of a fact: `result.research.question`."""
    return f"{place.type}.{place.domain}.{place.specificity}"
