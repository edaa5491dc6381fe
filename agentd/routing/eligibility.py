"""Whether any agent online may take a task: checked before it is sent."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from agentd.errors import TaskError
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.streams import WORK
from agentd.protocol.destination import Destination, Recipients
from agentd.protocol.message import AgentMessage
from agentd.protocol.subjects import RESERVED_DOMAINS, Subjects
from agentd.routing import registry, routes
from agentd.routing.accepts import refusal
from agentd.routing.registry import Replica

# Tasks that may wait on one route before senders are turned away.
QUEUE_LIMIT = 10_000


async def address(
    bus: Bus, subjects: Subjects, to: Destination, message: AgentMessage
) -> Destination:
    """The exact destination of a message; its route is announced if it needs one.

    Raises:
        TaskError: no agent online may take the message (`no_taker`), none of those accepts its
            content (`invalid_input`), or too many tasks wait at the destination (`overloaded`); the
            text names what was asked for and the agents online.
        BusError: the registry does not answer.
    """
    recipients = Recipients.of(message, to)
    online = await registry.online(bus, subjects.env)
    takers = require_taker(recipients, online, subjects.env)
    await _require_acceptance(online, takers, message.payload.content)
    if recipients.needs_route:
        await routes.announce(bus, subjects.env, recipients.requirement)
    await _require_room(bus, subjects, recipients.destination)
    return recipients.destination


def require_taker(recipients: Recipients, online: Sequence[Replica], env: str) -> list[str]:
    """The agents online that may take the task, sorted.

    Raises:
        TaskError: there is none (`no_taker`).
    """
    takers = {each.agent for each in online if recipients.include(each.agent, each.capabilities)}
    if not takers:
        agents = {replica.agent: " ".join(replica.capabilities) for replica in online}
        listed = ", ".join(f"{agent} ({held})" for agent, held in sorted(agents.items()))
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
    request = {"subjects_filter": subjects.work(to.domain, one)}
    info = await jetstream.api(bus, f"STREAM.INFO.{WORK}", request)
    waiting = sum((info["state"].get("subjects") or {}).values())
    if waiting >= QUEUE_LIMIT:
        raise TaskError(
            f"{waiting:,} tasks wait for {to} already; the limit is {QUEUE_LIMIT:,}",
            code="overloaded",
            retryable=True,
        )
