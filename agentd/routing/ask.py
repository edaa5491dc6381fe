"""Sends a task, now or later, and yields its answer: deltas as they arrive, then the result."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any

from agentd.errors import BusError, DecodeError, TaskError, UsageError
from agentd.nats import jetstream, schedules
from agentd.nats.bus import Bus, Msg
from agentd.nats.objects import MOST, fit, whole
from agentd.nats.records import skipping
from agentd.nats.schedules import ScheduleEntry, Timing
from agentd.nats.streams import LOG
from agentd.protocol.destination import Destination
from agentd.protocol.message import AgentMessage, decode
from agentd.protocol.subjects import RUNTIME_EVENTS, Subjects
from agentd.queue.decisions import ApprovalRequest, request_of
from agentd.queue.journal import delay_in
from agentd.routing import results
from agentd.routing.eligibility import Directory, address
from agentd.telemetry import active


@dataclass(frozen=True)
class Delta:
    """A piece of the answer, of one `turn` of the model, from 1.

    `restarted` says that the answer begins again with this piece: because the turn before called
    tools, or, in the same turn, because the run was repeated.
    """

    text: str
    restarted: bool = False
    turn: int = 1


@dataclass(frozen=True)
class Delay:
    """Why the answer takes longer: a server is away, or an attempt has failed."""

    text: str


@dataclass(frozen=True)
class Waiting:
    """The task is suspended until a person decides on some tool calls."""

    request: ApprovalRequest


async def send(bus: Bus, subjects: Subjects, to: Destination, message: AgentMessage) -> int:
    """Stores a task in the log; returns its sequence there.

    Raises:
        TaskError: no agent online takes it (code `no_taker`), or too many tasks wait there
            already (`overloaded`).
        BusError: it was not stored.
        SubjectError: `to` cannot be part of a subject.
    """
    return await _store(bus, subjects, await address(bus, subjects, to, message), message)


async def send_later(
    bus: Bus, subjects: Subjects, to: Destination, message: AgentMessage, due: float
) -> None:
    """Stores a task or an event that the server publishes at `due` (seconds since the epoch).

    It replaces one with the same id that is not due yet.

    Raises:
        TaskError: no agent online takes such a task (`no_taker`).
        UsageError: it is an event of agentd, such as an approval.
        BusError: it was not stored.
    """
    # Its timeout is counted from when it is due, as if it were sent then.
    message = message.model_copy(update={"timestamp": due})
    if message.type == "task":
        to = await address(bus, subjects, to, message)
        target = subjects.task(to.domain, to.specificity, message.routing.priority)
    elif to.domain in RUNTIME_EVENTS:
        raise UsageError(f"event.{to} is an event of agentd: it can be sent now, but not later")
    else:
        target = subjects.event(to.domain, to.specificity)
    entry = ScheduleEntry(
        subject=subjects.schedule("message", message.id),
        target=target,
        data=await fit(bus, message),
        timing=Timing.at(due),
    )
    await schedules.put(bus, entry)


async def _store(bus: Bus, subjects: Subjects, to: Destination, message: AgentMessage) -> int:
    subject = subjects.task(to.domain, to.specificity, message.routing.priority)
    data = await fit(bus, message)
    with active.sending(subject, message) as headers:
        return await jetstream.store(bus, subject, data, message_id=message.id, headers=headers)


async def ask(
    bus: Bus,
    subjects: Subjects,
    to: Destination,
    message: AgentMessage,
    *,
    timeout: float,
    most: int = MOST,
    directory: Directory | None = None,
) -> AsyncIterator[Delta | Delay | Waiting | AgentMessage]:
    """Sends a task; yields its deltas, a `Delay` when it has to wait, a `Waiting` when it is
    suspended, and last its result, for which at most `most` bytes are fetched.

    Who asks many agents at once gives all of these calls one `directory`.

    Raises:
        TaskError: no result within `timeout` seconds (code `no_answer`; the task is not ended by
            that), or as `send`.
        BusError: the task was not stored.
    """
    to = await (directory or Directory(bus, subjects)).address(to, message)
    answer = _Answer(subjects.result(to.domain, to.specificity, message.id))
    async with _listening(bus, subjects, message.id, answer.subject) as received:
        await _store(bus, subjects, to, message)
        deadline = asyncio.get_running_loop().time() + timeout
        while msg := await _next(received, bus, answer.subject, deadline):
            part = answer.read(msg)
            if isinstance(part, AgentMessage):
                yield await whole(bus, part, most=most)
                return
            if part:
                yield part
    raise no_answer(f"no answer from {to}", message, timeout, state_after(answer.last))


@contextlib.asynccontextmanager
async def _listening(
    bus: Bus, subjects: Subjects, task: str, result: str
) -> AsyncGenerator[asyncio.Queue[Msg]]:
    """The messages about a task."""
    received: asyncio.Queue[Msg] = asyncio.Queue()
    events = (subjects.event("run", task), subjects.event("approval", task))
    async with contextlib.AsyncExitStack() as stack:
        for subject in (subjects.stream(task), *events, result):
            subscription = await bus.subscribe(subject, received.put)
            stack.push_async_callback(subscription.close)
        # The server must know the subscriptions before the first delta can be published.
        await bus.fence()
        yield received


class _Answer:
    """The answer to one task, as its messages arrive. Any client may publish there: what is none of
    these messages is skipped.

    Attributes:
        subject: that of the result.
        last: the part that came last, before the result.
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.last: Delta | Delay | Waiting | None = None
        self._pieces = 0

    def read(self, msg: Msg) -> Delta | Delay | Waiting | AgentMessage | None:
        """The part that a message is: the message itself if it is the result."""
        if msg.subject == self.subject:
            return results.parsed(msg)
        is_event = msg.subject.split(".")[2] == "event"
        part = _event(msg) if is_event else self._delta(msg)
        self.last = part or self.last
        return part

    def _delta(self, msg: Msg) -> Delta | None:
        with skipping("a piece of the answer", msg):
            piece = decode(msg.data, type="stream").payload
            # A run that is repeated, or goes on with tools, numbers its pieces from 0 again.
            restarted = self._pieces > 0 and piece.sequence_number == 0
            self._pieces += 1
            return Delta(piece.chunk or "", restarted, piece.turn or 1)
        return None


def no_answer(what: str, message: AgentMessage, timeout: float, state: str) -> TaskError:
    """The error of one who has waited for a task for too long."""
    return TaskError(
        f"{what} within {timeout:g} s: {state}; the result of task {message.id} will be in the log",
        code="no_answer",
        retryable=True,
    )


def state_after(last: Delta | Delay | Waiting | None) -> str:
    """What a task waits for, in words, after the part that came last."""
    match last:
        case Waiting(request):
            names = ", ".join(dict.fromkeys(str(call["name"]) for call in request.calls))
            return f"it waits for a decision on {names}"
        case Delay(text):
            return text
        case Delta():
            return "the answer is being written"
        case None:
            return "nothing of the answer has arrived"


def _event(msg: Msg) -> Delay | Waiting | None:
    """What an event says to someone who waits; None if that is nothing, such as a decision."""
    try:
        return event_in(decode(msg.data).payload.content)
    except DecodeError:
        return None


def event_in(content: Any) -> Delay | Waiting | None:
    """What an event of a run says to someone who waits for its answer."""
    if request := request_of(content):
        return Waiting(request)
    delay = delay_in(content)
    return Delay(delay) if delay else None


async def _next(received: asyncio.Queue[Msg], bus: Bus, result: str, deadline: float) -> Msg | None:
    """The next message; None at the deadline.

    When none arrives for a while, the log is read: core NATS does not repeat a result that was lost
    with the connection.
    """
    while True:
        remaining = deadline - asyncio.get_running_loop().time()
        if remaining <= 0:
            return None
        try:
            async with asyncio.timeout(min(remaining, 2.0)):
                return await received.get()
        except TimeoutError:
            with contextlib.suppress(BusError):
                if recorded := await jetstream.last(bus, LOG, result):
                    recorded.subject = result
                    return recorded
