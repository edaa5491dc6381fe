"""Sends a task to every capable agent; gathers all answers, the first, or the majority's."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal

from agentd.errors import BusError, TaskError
from agentd.nats.bus import Bus
from agentd.nats.objects import MOST
from agentd.protocol.destination import GENERAL, Destination, Recipients
from agentd.protocol.message import AgentMessage
from agentd.protocol.subjects import AGENT_DOMAIN, Subjects, digest
from agentd.routing import registry
from agentd.routing.ask import ask
from agentd.routing.eligibility import Directory, require_taker

MOST_ASKED = 100  # agents: any client may register thousands
MOST_BYTES = 128 * 1024**2  # of all answers together

log = logging.getLogger(__name__)

Mode = Literal["all", "first", "majority"]


@dataclass(frozen=True)
class Vote:
    """The answer of one agent: the content of its result, or of an error if it gave none."""

    agent: str
    content: dict[str, Any]

    @property
    def success(self) -> bool:
        return bool(self.content["success"])

    @property
    def ballot(self) -> str:
        """The answer in a form in which equal answers are equal: text without case, extra spaces
        and a final `.` or `!`, other values as JSON with sorted fields."""
        data = self.content["data"]
        if isinstance(data, str):
            # Models are not consistent in these: "Yes.", "yes" and "YES!" are one vote.
            return " ".join(data.casefold().split()).rstrip(".!")
        return json.dumps(data, sort_keys=True)


@dataclass(frozen=True)
class Gathered:
    """The votes in the order in which they arrived.

    Attributes:
        asked: the agents that were asked, sorted.
        agreed: the vote that counts: the first success, or one of the majority; None with mode
            `all`, or if there is no such vote.
    """

    votes: tuple[Vote, ...]
    asked: tuple[str, ...]
    agreed: Vote | None = None


async def capable(bus: Bus, subjects: Subjects, message: AgentMessage, domain: str) -> list[str]:
    """The agents online that may take `message` of this domain, sorted; at most `MOST_ASKED`.

    Raises:
        TaskError: there are none (`no_taker`).
        BusError: the registry does not answer.
    """
    online = await registry.online(bus, subjects.env)
    recipients = Recipients.of(message, Destination(domain, GENERAL))
    found = require_taker(recipients, online, subjects.env)
    if len(found) > MOST_ASKED:
        text = "%d agents could answer; the first %d by name are asked"
        log.warning(text, len(found), MOST_ASKED)
    return found[:MOST_ASKED]


async def gather(
    bus: Bus,
    subjects: Subjects,
    domain: str,
    message: AgentMessage,
    *,
    mode: Mode = "all",
    timeout: float,
) -> Gathered:
    """Sends `message` to each capable agent, and waits for as many answers as `mode` needs.

    An agent that does not answer within `timeout` seconds counts as failed.

    Raises:
        TaskError: no agent online is capable (`no_taker`).
        BusError: the server does not answer.
    """
    asked = await capable(bus, subjects, message, domain)
    votes: list[Vote] = []
    async with aclosing(_votes(bus, subjects, asked, message, timeout)) as arriving:
        async for vote in arriving:
            votes.append(vote)
            if mode == "first" and vote.success:
                return Gathered((vote,), tuple(asked), vote)
            if mode == "majority" and (agreed := majority(votes, len(asked))):
                return Gathered(tuple(votes), tuple(asked), agreed)
    return Gathered(tuple(votes), tuple(asked))


async def _votes(
    bus: Bus, subjects: Subjects, asked: Sequence[str], message: AgentMessage, timeout: float
) -> AsyncGenerator[Vote]:
    """The votes as they arrive. Closing this cancels the waiting for the others; their agents
    still finish their tasks."""
    most = min(MOST, MOST_BYTES // len(asked))
    directory = Directory(bus, subjects)

    async def vote(agent: str) -> Vote:
        # The id depends only on the message and the agent. So when a run is repeated after a crash,
        # the task is the same as before, and its result is found instead of made again.
        task = digest(f"{message.id} {agent}")
        own = message.model_copy(update={"id": task, "target": agent})
        to = Destination(AGENT_DOMAIN, agent)
        parts = ask(bus, subjects, to, own, timeout=timeout, most=most, directory=directory)
        return await _vote(agent, parts)

    tasks = [asyncio.ensure_future(vote(agent)) for agent in asked]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _vote(agent: str, parts: AsyncIterator[object]) -> Vote:
    try:
        async for part in parts:
            if isinstance(part, AgentMessage):
                return Vote(agent, part.payload.content)
    except TaskError as error:
        failure = {"code": error.code, "message": str(error), "retryable": error.retryable}
        return Vote(agent, {"success": False, "data": None, "error": failure})
    raise BusError(f"{agent}: the answer ended without a result")


def majority(votes: Sequence[Vote], asked: int) -> Vote | None:
    """The first vote that more than half of the `asked` agents gave; None if there is none.

    Failed agents count as asked: two of four is no majority, although the other two failed.
    """
    for vote in votes:
        same = [each for each in votes if each.success and each.ballot == vote.ballot]
        if vote.success and 2 * len(same) > asked:
            return vote
    return None
