"""Asks an agent and follows its answer: deltas as they come, then the result."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from agentd.errors import BusError, DecodeError, TaskError
from agentd.nats import jetstream, schedules
from agentd.nats.bus import Bus, Msg
from agentd.nats.objects import fit, whole
from agentd.nats.schedules import ScheduleEntry, Timing
from agentd.nats.streams import LOG
from agentd.protocol.destination import Destination
from agentd.protocol.message import AgentMessage, decode
from agentd.protocol.subjects import Subject, Subjects
from agentd.queue.decisions import ApprovalRequest, request_of
from agentd.routing.eligibility import address


@dataclass(frozen=True)
class Delta:
    """A piece of the answer; `restarted` says that what came before it is void."""

    text: str
    restarted: bool = False


@dataclass(frozen=True)
class Waiting:
    """The agent waits until a person has decided on some calls."""

    request: ApprovalRequest


async def send(bus: Bus, subjects: Subjects, to: Destination, message: AgentMessage) -> int:
    """Puts a task on record for whoever is capable; returns its sequence in the log.

    Raises:
        TaskError: nobody is (code `no_taker`), or too much waits already (`overloaded`).
        BusError: it was not stored.
        SubjectError: `to` cannot be part of a subject.
    """
    return await _store(bus, subjects, await address(bus, subjects, to, message), message)


async def send_later(
    bus: Bus, subjects: Subjects, to: Destination, message: AgentMessage, due: float
) -> None:
    """Puts a task or an event on record that the server publishes at `due` (Unix seconds).

    It counts as sent then, for whatever time it is given. Another one of this id, not due yet, is
    replaced.

    Raises:
        TaskError: nobody online takes such a task (`no_taker`); it would wait for nobody.
        BusError: it was not stored.
    """
    message = message.model_copy(update={"timestamp": due})
    if message.type == "task":
        to = await address(bus, subjects, to, message)
        target = subjects.task(to.domain, to.specificity, message.routing.priority)
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
    return await jetstream.store(bus, subject, data, message_id=message.id)


async def ask(
    bus: Bus,
    subjects: Subjects,
    to: Destination,
    message: AgentMessage,
    *,
    timeout: float,
) -> AsyncIterator[Delta | Waiting | AgentMessage]:
    """Sends a task and yields its deltas, and when it waits for a person; its result is last.

    Raises:
        TaskError: no result within `timeout` seconds (code `no_answer`; the task itself lives
            on), or as `send`.
        BusError: it was not stored.
    """
    to = await address(bus, subjects, to, message)
    arrived: asyncio.Queue[Msg] = asyncio.Queue()
    result = subjects.result(to.domain, to.specificity, message.id)
    async with contextlib.AsyncExitStack() as stack:
        approval = subjects.event("approval", message.id)
        for subject in (subjects.stream(message.id), approval, result):
            subscription = await bus.subscribe(subject, arrived.put)
            stack.push_async_callback(subscription.close)
        await bus.fence()
        await _store(bus, subjects, to, message)
        deadline = asyncio.get_running_loop().time() + timeout
        number = 0
        while True:
            msg = await _next(arrived, bus, result, deadline)
            if msg is None:
                raise TaskError(
                    f"no answer from {to} within {timeout:g} s; task {message.id} is still on "
                    "record, and its result will be",
                    code="no_answer",
                    retryable=True,
                )
            if msg.subject == approval:
                if request := _request(msg):
                    yield Waiting(request)
                continue
            answer = _decoded(msg)
            if answer.type == "result":
                yield await whole(bus, answer)
                return
            payload = answer.payload
            restarted = number > 0 and payload.sequence_number == 0
            number += 1
            yield Delta(payload.chunk or "", restarted)


def _request(msg: Msg) -> ApprovalRequest | None:
    """The request that a message is; people's decisions go by on the same subject."""
    try:
        return request_of(decode(msg.data).payload.content)
    except DecodeError:
        return None


async def _next(arrived: asyncio.Queue[Msg], bus: Bus, result: str, deadline: float) -> Msg | None:
    """The next delta or result; the log is asked too, in case a message was missed."""
    while True:
        remaining = deadline - asyncio.get_running_loop().time()
        if remaining <= 0:
            return None
        try:
            async with asyncio.timeout(min(remaining, 2.0)):
                return await arrived.get()
        except TimeoutError:
            with contextlib.suppress(BusError):
                if recorded := await jetstream.last(bus, LOG, result):
                    return recorded


def _decoded(msg: Msg) -> AgentMessage:
    try:
        return decode(msg.data)
    except DecodeError as error:
        raise BusError(f"{Subject.parse(msg.subject)}: {error}") from error
