"""Asks every capable agent at once: for all answers, the first, or that of the majority."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal

from agentd.errors import BusError, TaskError
from agentd.nats.bus import Bus
from agentd.protocol.destination import ANY, Destination, Recipients
from agentd.protocol.message import AgentMessage
from agentd.protocol.subjects import AGENT_DOMAIN, Subjects, digest
from agentd.routing import registry
from agentd.routing.ask import ask
from agentd.routing.eligibility import require_taker

Mode = Literal["all", "first", "majority"]


@dataclass(frozen=True)
class Vote:
    """What one agent answered: the content of its result, or the error that stands for it."""

    agent: str
    content: dict[str, Any]

    @property
    def success(self) -> bool:
        return bool(self.content["success"])

    @property
    def ballot(self) -> str:
        """What makes two answers the same: a text whatever its case and spaces, a value whatever
        the order of its fields."""
        data = self.content["data"]
        if isinstance(data, str):
            return " ".join(data.casefold().split()).rstrip(".!")
        return json.dumps(data, sort_keys=True)


@dataclass(frozen=True)
class Gathered:
    """What came back, in the order in which it came; of a majority `agreed` is what it says."""

    votes: tuple[Vote, ...]
    asked: tuple[str, ...]
    agreed: Vote | None = None


async def capable(bus: Bus, subjects: Subjects, message: AgentMessage, domain: str) -> list[str]:
    """The agents online that may take `message` of this domain, sorted.

    Raises:
        TaskError: there is none (`no_taker`).
        BusError: the registry does not answer.
    """
    online = await registry.online(bus, subjects.env)
    recipients = Recipients.of(message, Destination(domain, ANY))
    return require_taker(recipients, online, subjects.env)


async def gather(
    bus: Bus,
    subjects: Subjects,
    domain: str,
    message: AgentMessage,
    *,
    mode: Mode = "all",
    timeout: float,
) -> Gathered:
    """Sends `message` to each capable agent and waits, at most `timeout` seconds, for as many
    answers as `mode` needs. An agent that does not answer in time counts as one that failed.

    Raises:
        TaskError: nobody is capable (`no_taker`).
        BusError: NATS is out of reach.
    """
    asked = await capable(bus, subjects, message, domain)
    votes: list[Vote] = []
    async with aclosing(_votes(bus, subjects, asked, message, timeout)) as arriving:
        async for vote in arriving:
            votes.append(vote)
            if mode == "first" and vote.success:
                return Gathered((vote,), tuple(asked), vote)
            if mode == "majority" and (agreed := _majority(votes, len(asked))):
                return Gathered(tuple(votes), tuple(asked), agreed)
    return Gathered(tuple(votes), tuple(asked))


async def _votes(
    bus: Bus, subjects: Subjects, asked: Sequence[str], message: AgentMessage, timeout: float
) -> AsyncGenerator[Vote]:
    """The answers as they come."""
    tasks = [
        asyncio.ensure_future(_vote(bus, subjects, agent, message, timeout)) for agent in asked
    ]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _vote(
    bus: Bus, subjects: Subjects, agent: str, message: AgentMessage, timeout: float
) -> Vote:
    # The same task for the same agent, however often it is gathered: a repeat finds the result.
    own = message.model_copy(update={"id": digest(f"{message.id} {agent}"), "target": agent})
    to = Destination(AGENT_DOMAIN, agent)
    try:
        async for part in ask(bus, subjects, to, own, timeout=timeout):
            if isinstance(part, AgentMessage):
                return Vote(agent, part.payload.content)
    except TaskError as error:
        told = {"code": error.code, "message": str(error), "retryable": error.retryable}
        return Vote(agent, {"success": False, "data": None, "error": told})
    raise BusError(f"{agent}: the answer ended without a result")


def _majority(votes: Sequence[Vote], asked: int) -> Vote | None:
    """The first vote of those with whom more than half of all who were asked agree."""
    for vote in votes:
        same = [each for each in votes if each.success and each.ballot == vote.ballot]
        if vote.success and 2 * len(same) > asked:
            return vote
    return None
