"""Follows a question beyond its own answer: all that agents make of it, until a fact ends it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from agentd.errors import BusError, DecodeError, SubjectError, TaskError
from agentd.nats.bus import Bus, Msg
from agentd.nats.jetstream import stored
from agentd.nats.objects import whole
from agentd.nats.streams import LOG
from agentd.protocol.destination import Destination
from agentd.protocol.message import AgentMessage, decode
from agentd.protocol.subjects import RUNTIME_EVENTS, Subject, Subjects, matches
from agentd.queue.decisions import request_of
from agentd.routing.ask import Delta, Waiting, send

_LOOK = 2.0  # seconds until the log is asked, in case a message was missed


@dataclass(frozen=True)
class FollowedMessage:
    """A result or an event on the way to the end; `topic` is `result.research.question`, say."""

    topic: str
    message: AgentMessage


Part = Delta | Waiting | FollowedMessage | AgentMessage


async def follow(
    bus: Bus,
    subjects: Subjects,
    to: Destination,
    message: AgentMessage,
    *,
    until: str,
    timeout: float,
) -> AsyncIterator[Part]:
    """Sends a task and yields what comes of it. Last is the first fact that `until` matches, a
    pattern as in `subscribe`; or the task's own result if it failed, for nothing follows that.

    Of answers that are streamed at the same time, only the first is.

    Raises:
        TaskError: no such fact within `timeout` seconds (`no_answer`), or as `send`.
        BusError: it was not stored.
    """
    arrived: asyncio.Queue[Msg] = asyncio.Queue()
    thread = _Thread(message, until)
    clock = asyncio.get_running_loop().time
    async with contextlib.AsyncExitStack() as stack:
        for pattern in ("result.>", "event.>", "stream.response.*"):
            subscription = await bus.subscribe(subjects.pattern(pattern), arrived.put)
            stack.push_async_callback(subscription.close)
        await bus.fence()
        start = await send(bus, subjects, to, message)
        deadline, look = clock() + timeout, clock() + _LOOK
        while (now := clock()) < deadline:
            if now >= look:
                part = await _on_record(bus, subjects, thread, start)
                look = clock() + _LOOK
            else:
                msg = await _next(arrived, min(deadline, look) - now)
                part = thread.read(msg.subject, msg.data) if msg else None
            if isinstance(part, AgentMessage):
                yield await whole(bus, part)
                return
            if part:
                yield part
    raise TaskError(
        f"no {until} within {timeout:g} s of task {message.id}",
        code="no_answer",
        retryable=True,
    )


async def _next(arrived: asyncio.Queue[Msg], seconds: float) -> Msg | None:
    try:
        return await asyncio.wait_for(arrived.get(), seconds)
    except TimeoutError:
        return None


async def _on_record(
    bus: Bus, subjects: Subjects, thread: _Thread, start: int
) -> AgentMessage | None:
    """The end, if the log has it from sequence `start` on."""
    with contextlib.suppress(BusError):  # the server is away, and will be asked again
        for topic in (f"result.*.*.{thread.task.id}", thread.ends):
            async for msg in stored(bus, LOG, subjects.pattern(topic), start=start):
                part = thread.read((msg.headers or {})["Nats-Subject"], msg.data)
                if isinstance(part, AgentMessage):
                    return part
    return None


class _Thread:
    """Tells what belongs to a task, and what ends it."""

    def __init__(self, task: AgentMessage, until: str) -> None:
        self.task = task
        self.ends = f"{until}.*" if until.startswith("result.") else until
        self._until = until
        self._speaking: str | None = None  # the task whose answer is streamed
        self._has_spoken = False

    def read(self, subject: str, data: bytes) -> Part | None:
        """What a message is to us; the end is the message itself."""
        try:
            place = Subject.parse(subject)
            message = decode(data)
        except (SubjectError, DecodeError):
            return None
        if message.context.conversation_id != self.task.context.conversation_id:
            return None
        if place.type == "stream":
            return self._delta(place, message)
        if place.domain == "approval":
            request = request_of(message.payload.content)
            return Waiting(request) if request else None
        return self._fact(place, message)

    def _delta(self, place: Subject, message: AgentMessage) -> Delta | None:
        piece = message.payload
        if piece.sequence_number == 0 and self._speaking is None:
            self._speaking = place.task_id
        if self._speaking != place.task_id:
            return None
        restarted = self._has_spoken and piece.sequence_number == 0
        self._has_spoken = True
        if piece.is_final:
            self._speaking = None
        return Delta(piece.chunk or "", restarted)

    def _fact(self, place: Subject, message: AgentMessage) -> FollowedMessage | AgentMessage | None:
        if place.domain in RUNTIME_EVENTS or message.correlation_id != self.task.id:
            return None
        topic = f"{place.type}.{place.domain}.{place.specificity}"
        if place.task_id == self._speaking:
            self._speaking = None  # its last delta was missed
        if matches(self._until, topic) or (place.task_id == self.task.id and _failed(message)):
            return message
        return FollowedMessage(topic, message)


def _failed(result: AgentMessage) -> bool:
    content = result.payload.content
    return isinstance(content, dict) and not content.get("success")
