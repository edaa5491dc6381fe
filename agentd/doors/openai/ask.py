"""Sends questions as tasks, and cancels them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any

from agentd.doors.backend import Backend
from agentd.doors.caller import Caller
from agentd.doors.openai.answer import Answer
from agentd.doors.openai.follow import LONGEST, late
from agentd.doors.openai.models import Target, target
from agentd.doors.openai.question import Question
from agentd.protocol.message import AgentMessage, new_id
from agentd.queue import cancellations
from agentd.queue.cancellations import Scope
from agentd.routing import stream
from agentd.routing.accept import Acceptance, accept, task_id
from agentd.routing.eligibility import Directory
from agentd.routing.results import Own, Waiter
from agentd.routing.stream import StreamEvent

_IDLE = 10.0  # seconds without an event, until a stream says that it is alive
# A client that has gone will not come back for the answer. Nothing else needs the cancellation.
_CANCELLED_FOR = 86_400


@dataclass(frozen=True, kw_only=True)
class Order:
    """A question, and how it is to be sent.

    Attributes:
        task: the id of the task. The same id is sent once.
        conversation: None if it is a conversation of its own.
        memory: whether the memory of the conversation is used.
        fresh: the id is new.
        kept: the task can be found by its id, as long as the log has it.
    """

    question: Question
    caller: Caller
    task: str
    conversation: str | None = None
    memory: bool = False
    fresh: bool = True
    kept: bool = False

    @classmethod
    def under(cls, key: str | None, question: Question, caller: Caller, **how: Any) -> Order:
        """The order of a client that may send a key, under which it is sent once."""
        task = task_id(caller.name, key) if key else new_id()
        return cls(question=question, caller=caller, task=task, fresh=key is None, **how)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question that was sent: where to, and what becomes of it."""

    target: Target
    events: AsyncIterator[StreamEvent]


class Asking:
    """Sends the questions of a process."""

    def __init__(self, backend: Backend) -> None:
        self._bus = backend.bus
        self._subjects = backend.subjects
        self.drained = backend.drained
        self._cancel = backend.cancel
        self.directory = Directory(backend.bus, backend.subjects)

    @contextlib.asynccontextmanager
    async def asked(self, order: Order) -> AsyncGenerator[Asked]:
        """Sends a question; in the block its answer can be followed.

        Raises:
            Refusal: the caller may not ask this, or the request is wrong.
            TaskError: nobody takes it.
            BusError: it was not stored.
        """
        goal, message = await self._task(order)
        task, fresh = order.task, order.fresh
        own = Own(self._bus, self._subjects, task)
        opened = stream.opened(self._bus, self._subjects, task, idle=_IDLE, fresh=fresh, own=own)
        async with opened as events:
            own.accepted(await self._accept(order, goal, message))
            yield Asked(target=goal, events=events)

    async def answer(self, order: Order) -> Answer:
        """Sends a question, and waits for its answer.

        Raises:
            Refusal: as `asked`, or it has taken too long.
            TaskError, BusError: as `asked`.
            DecodeError: the result cannot be read.
        """
        goal, message = await self._task(order)
        waiter = Waiter(self._bus, self._subjects, order.task)
        async with waiter.subscribed():
            acceptance = await self._accept(order, goal, message)
            result = await waiter.get(LONGEST, acceptance, look=not order.fresh)
        if result is None:
            raise late(order.task, "")
        return Answer.of(result)

    async def send(self, order: Order) -> None:
        """Sends a question whose answer is fetched later.

        Raises:
            As `asked`.
        """
        await self._accept(order, *await self._task(order))

    async def cancel(self, task: str, caller: Caller) -> None:
        """Cancels a task in the name of the caller.

        Raises:
            BusError: it could not be stored.
        """
        scope = Scope("task", task)
        await self._cancel(self._bus, self._subjects, scope, by=caller.actor)

    async def abandon(self, task: str) -> None:
        """Cancels a task that nobody waits for any more.

        Raises:
            BusError: it could not be stored.
        """
        scope = Scope("task", task)
        await cancellations.cancel(self._bus, self._subjects, scope, kept=_CANCELLED_FOR)

    async def _task(self, order: Order) -> tuple[Target, AgentMessage]:
        question = order.question
        goal = target(question.model, await self.directory.online(), order.caller)
        if goal.takers:  # for a task that nobody takes, nothing is stored
            question = await question.with_objects(self._bus)
        message = question.task(
            id=order.task,
            sender=order.caller.name,
            conversation=order.conversation,
            memory=order.memory,
            as_content=goal.content,
        )
        return goal, message

    async def _accept(self, order: Order, goal: Target, message: AgentMessage) -> Acceptance:
        return await accept(
            self._bus,
            self._subjects,
            goal.to,
            message,
            by=order.caller.name,
            directory=self.directory,
            once=order.kept or not order.fresh,
        )
