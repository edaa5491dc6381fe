"""Responses that were sent before: continued, fetched, cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from agentd.doors.caller import Caller
from agentd.doors.openai.answer import Answer
from agentd.doors.openai.content import said_in
from agentd.doors.openai.errors import BadRequest
from agentd.doors.openai.question import Question
from agentd.doors.openai.responses_response import PREFIX, Response
from agentd.doors.refusal import Refusal
from agentd.nats.bus import Bus
from agentd.nats.jetstream import stored
from agentd.nats.objects import whole
from agentd.nats.streams import LOG
from agentd.protocol.destination import Destination
from agentd.protocol.fields import HistoryMessage
from agentd.protocol.message import AgentMessage, decode
from agentd.protocol.subjects import Subjects, is_token
from agentd.routing import accept, results
from agentd.routing.accept import Acceptance
from agentd.routing.status import TaskStatus, status

_PAUSES = (0.0, 0.05, 0.25, 1.0)  # seconds before each look for a result
_STATES = {"queued": "queued", "running": "in_progress", "suspended": "in_progress"}


@dataclass(frozen=True)
class Previous:
    """A response that another one continues: its conversation, and its turns if the client still
    has to run functions for it."""

    conversation: str
    turns: tuple[HistoryMessage, ...]

    def continued(self, question: Question) -> Question:
        """The question behind these turns."""
        return replace(question, turns=(*self.turns, *question.turns))


class Responses:
    """The responses on record."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subjects = subjects

    async def previous(self, response: str, caller: Caller) -> Previous:
        """The response that a request continues.

        Raises:
            Refusal: there is none, it has no answer yet, or the caller may not see it.
        """
        task = _task_of(response)
        acceptance = await accept.find(self._bus, self._subjects, task)
        if acceptance is None:
            raise _unknown(response)
        result = await self._result(task)
        _require_sight(caller, acceptance, result)
        if result is None:
            raise BadRequest("previous_response_id", f"is {response}, which has no answer yet")
        calls = Answer.of(result).calls
        if not calls:
            return Previous(acceptance.conversation, ())
        asked = await self._task(acceptance)
        said = HistoryMessage(role="assistant", calls=calls)
        return Previous(acceptance.conversation, (*_turns(asked), said))

    async def status(self, response: str, caller: Caller) -> TaskStatus:
        """How far a response is.

        Raises:
            Refusal: there is none, or the caller may not see it.
        """
        found = await status(self._bus, self._subjects, _task_of(response))
        if found is None:
            raise _unknown(response)
        _require_sight(caller, found.acceptance, found.result)
        return found

    async def shown(self, response: str, found: TaskStatus) -> dict[str, Any]:
        """The object of a response."""
        made = await self.response(response, found)
        if found.result is None:
            return made.open(_STATES[found.state])
        return made.closed(Answer.of(await whole(self._bus, found.result)))

    async def response(self, response: str, found: TaskStatus) -> Response:
        """What the log knows of the request of a response."""
        task = _task_of(response)
        if found.acceptance is None:
            return Response(task, "", {})
        asked = await self._task(found.acceptance)
        body = {"metadata": asked.context.metadata}
        return Response(task, model_of(found.acceptance), body, created=asked.sent_at)

    async def _result(self, task: str) -> AgentMessage | None:
        """The result of a task. A client may have it a moment before the server has stored it."""
        for pause in _PAUSES:
            await asyncio.sleep(pause)
            if result := await results.find(self._bus, self._subjects, task):
                return result
        return None

    async def _task(self, acceptance: Acceptance) -> AgentMessage:
        """The task that was accepted.

        Raises:
            Refusal: the log no longer has it.
        """
        subject = str(acceptance.subject)
        sequence = await accept.sequence_of(self._bus, self._subjects, acceptance)
        async for msg in stored(self._bus, LOG, subject, start=sequence):
            if int((msg.headers or {})["Nats-Sequence"]) != sequence:
                break
            return await whole(self._bus, decode(msg.data, type="task"))
        raise _unknown(f"{PREFIX}{acceptance.task}")


def model_of(acceptance: Acceptance) -> str:
    """The model that a client has named."""
    return acceptance.to.removeprefix("@").removesuffix(".general")


def _task_of(response: str) -> str:
    """The task of a response.

    Raises:
        Refusal: no response has such an id.
    """
    task = response.removeprefix(PREFIX)
    if task == response or not is_token(task):
        raise _unknown(response)
    return task


def _require_sight(
    caller: Caller, acceptance: Acceptance | None, result: AgentMessage | None
) -> None:
    """A caller sees its own responses; others only with the right to read, and of its agents."""
    if acceptance is not None and acceptance.by == caller.name and "ask" in caller.may:
        return
    caller.require("read")
    if caller.agents is not None:
        agent = acceptance and Destination.parse(acceptance.to).agent
        agent = agent or (result and result.source.id)
        caller.require("read", agent=agent or "that takes it")


def _unknown(response: str) -> Refusal:
    return Refusal(404, "not_found", f"there is no response {response[:100]!r}")


def _turns(asked: AgentMessage) -> Iterator[HistoryMessage]:
    """All turns of a task, as a client would send them again."""
    yield from asked.context.history
    yield HistoryMessage(role="user", content=said_in(asked.payload.content))
    yield from asked.payload.continuation
