"""Where a task goes, and whether any agent online may take it: checked before it is sent."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

from agentd.errors import TaskError
from agentd.nats.bus import Bus
from agentd.nats.streams import WORK
from agentd.protocol.destination import Destination, Recipients, Requirement
from agentd.protocol.message import AgentMessage, short_id
from agentd.protocol.subjects import RESERVED_DOMAINS, Subjects
from agentd.queue import held
from agentd.routing import registry, routes
from agentd.routing.accepts import refusal
from agentd.routing.registry import Replica

log = logging.getLogger(__name__)

# Tasks that may wait on one route before senders are turned away.
QUEUE_LIMIT = 10_000
_FRESH = 1.0  # seconds for which a `Directory` relies on what it has read
_LISTED = 2_000  # characters of an error that lists the agents online

_Key = TypeVar("_Key")


async def address(
    bus: Bus, subjects: Subjects, to: Destination, message: AgentMessage
) -> Destination:
    """`Directory.address`, for a process that sends one task."""
    return await Directory(bus, subjects).address(to, message)


class Directory:
    """Where tasks go, by what the server knew a moment ago: for a process that sends many.

    With `may_wait`, a task that no agent online takes waits for one.
    """

    def __init__(self, bus: Bus, subjects: Subjects, *, may_wait: bool = False) -> None:
        self._may_wait = may_wait
        self._bus = bus
        self._subjects = subjects
        self._online: Sequence[Replica] = ()
        self._read_at = -math.inf
        # Many tasks that are sent at the same time ask once.
        self._reading, self._asking = asyncio.Lock(), asyncio.Lock()
        self._announced: dict[Requirement, float] = {}
        self._has_room: dict[Destination, float] = {}

    async def address(self, to: Destination, message: AgentMessage) -> Destination:
        """The exact destination of a message; its route is announced if it needs one.

        Raises:
            TaskError: no agent online may take the message (`no_taker`), none of those accepts its
                content (`invalid_input`), or too many tasks wait at the destination
                (`overloaded`); the text names what was asked for and the agents online.
            BusError: the registry does not answer.
        """
        recipients = Recipients.of(message, to)
        try:
            await self._require_taker(recipients, message, since=time.monotonic() - _FRESH)
        except TaskError:
            # An agent may have come since the registry was read.
            try:
                await self._require_taker(recipients, message, since=time.monotonic())
            except TaskError as error:
                if error.code != "no_taker" or not self._may_wait:
                    raise
                log.warning("task %s waits: %s", short_id(message.id), error)
        if recipients.needs_route and _is_old(self._announced, recipients.requirement):
            await routes.announce(self._bus, self._subjects.env, recipients.requirement)
            self._announced[recipients.requirement] = time.monotonic()
        if _is_old(self._has_room, recipients.destination):
            await self._look_for_room(recipients.destination)
        return recipients.destination

    async def online(self) -> Sequence[Replica]:
        """The agents online, as read a moment ago.

        Raises:
            BusError: the registry does not answer.
        """
        return await self._read(time.monotonic() - _FRESH)

    async def _require_taker(
        self, recipients: Recipients, message: AgentMessage, *, since: float
    ) -> None:
        online = await self._read(since)
        takers = require_taker(recipients, online, self._subjects.env)
        await _require_acceptance(online, takers, message.payload.content)

    async def _look_for_room(self, to: Destination) -> None:
        async with self._asking:
            if _is_old(self._has_room, to):
                await _require_room(self._bus, self._subjects, to)
                self._has_room[to] = time.monotonic()

    async def _read(self, since: float) -> Sequence[Replica]:
        """The registry, as it was `since` then or later."""
        if self._read_at >= since:
            return self._online
        async with self._reading:
            if self._read_at < since:
                read_at = time.monotonic()
                self._online = await registry.online(self._bus, self._subjects.env)
                self._read_at = read_at
            return self._online


def _is_old(known: dict[_Key, float], key: _Key) -> bool:
    """Whether something is not known, or not since a moment ago. What is old is forgotten."""
    since = time.monotonic() - _FRESH
    for each in [each for each, at in known.items() if at < since]:
        del known[each]
    return key not in known


def require_taker(recipients: Recipients, online: Sequence[Replica], env: str) -> list[str]:
    """The agents online that may take the task, sorted.

    Raises:
        TaskError: there is none (`no_taker`).
    """
    takers = {each.agent for each in online if recipients.include(each.agent, each.capabilities)}
    if not takers:
        agents = {replica.agent: " ".join(replica.capabilities) for replica in online}
        listed = ", ".join(f"{agent} ({held})" for agent, held in sorted(agents.items()))[:_LISTED]
        raise TaskError(
            f"no agent online in {env!r} takes {recipients}; online: {listed or 'no agent at all'}",
            code="no_taker",
            retryable=True,
        )
    return sorted(takers)


async def _require_acceptance(
    online: Sequence[Replica], takers: Collection[str], content: Any
) -> None:
    """Refuses a task that would only be refused by the agent that gets it, whichever that is."""
    # Replicas of one revision accept the same, and one agent that accepts it is enough.
    of_takers = {(e.agent, e.revision): e.accepts for e in online if e.agent in takers}
    refused = None
    for (agent, _), schema in of_takers.items():
        refused = await refusal(agent, schema, content)
        if refused is None:
            return
    if refused:
        raise refused


async def _require_room(bus: Bus, subjects: Subjects, to: Destination) -> None:
    one = to.specificity if to.domain in RESERVED_DOMAINS else None
    waiting = await held.count(bus, WORK, subjects.work(to.domain, one))
    if waiting >= QUEUE_LIMIT:
        raise TaskError(
            f"{waiting:,} tasks wait for {to} already; the limit is {QUEUE_LIMIT:,}",
            code="overloaded",
            retryable=True,
        )
