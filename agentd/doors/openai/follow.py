"""Follows a task to its answer, and writes it as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Protocol

from agentd.doors.openai.answer import Answer
from agentd.doors.refusal import Refusal, refusal_of
from agentd.errors import AgentdError
from agentd.routing.stream import StreamEvent

# Clients of OpenAI give up after ten minutes; a task may wait for days, for example for approval.
LONGEST = 600.0
_ALIVE = b": the task is not done yet\n\n"


class Writer(Protocol):
    """Writes the events of one stream in the form of an interface."""

    def piece(self, text: str, *, turn: int) -> Iterable[bytes]:
        """A piece of the answer."""
        ...

    def restart(self) -> Iterable[bytes]:
        """The answer begins again."""
        ...

    def end(self, answer: Answer) -> Iterable[bytes]:
        """The rest of the answer."""
        ...

    def failed(self, refusal: Refusal) -> Iterable[bytes]:
        """The end without an answer."""
        ...


async def first(task: str, events: AsyncIterator[StreamEvent]) -> StreamEvent:
    """The first event that says something. Until then, a failed task can be answered with the
    right status."""
    async for event in events:
        if event.kind in ("delta", "result", "idle"):
            return event
    raise late(task, "")


async def written(
    task: str, events: AsyncIterator[StreamEvent], writer: Writer, *, whole: bool
) -> AsyncIterator[bytes]:
    """The events of a stream. With `whole`, the answer is written at once, at its end."""
    reason, deadline = "", _now() + LONGEST
    try:
        async for event in events:
            reason = _reason(event) or reason
            for data in _written(event, writer, whole=whole):
                yield data
            if event.kind == "result":
                return
            _require_time(deadline, task, reason)
    except AgentdError as error:
        for data in writer.failed(refusal_of(error)):
            yield data


def _require_time(deadline: float, task: str, reason: str) -> None:
    if _now() >= deadline:
        raise late(task, reason)


def late(task: str, reason: str) -> Refusal:
    """The refusal of one who has waited for too long."""
    state = f": {reason}" if reason else ""
    text = f"no answer yet{state}; task {task} goes on, and its result will be in the log"
    return Refusal(504, "no_answer", text, headers={"x-should-retry": "false"})


def ending(task: str) -> Refusal:
    """The refusal of a process that ends."""
    text = f"this process of agentd ends; task {task} goes on, and its result will be in the log"
    return Refusal(503, "ending", text, headers={"x-should-retry": "false"})


def _written(event: StreamEvent, writer: Writer, *, whole: bool) -> Iterator[bytes]:
    match event.kind:
        case "delta" if not whole:
            yield from writer.piece(event.text, turn=event.turn)
        case "restart" if not whole:
            yield from writer.restart()
        case "result" if event.message:
            yield from writer.end(Answer.of(event.message))
        case "idle":
            yield _ALIVE
        case _:
            pass


async def behind(
    first: StreamEvent, others: AsyncIterator[StreamEvent]
) -> AsyncIterator[StreamEvent]:
    """The events with the first one put back."""
    yield first
    async for event in others:
        yield event


def _reason(event: StreamEvent) -> str:
    """Why it takes longer, in words; "" if the event does not say."""
    if event.kind == "waiting":
        return "it waits for a person to approve a tool call"
    return event.text if event.kind == "delay" else ""


def _now() -> float:
    return asyncio.get_running_loop().time()
