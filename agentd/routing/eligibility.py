"""Who could take a task now: found out before it is sent, so that nobody waits for nobody."""

from __future__ import annotations

from collections.abc import Sequence

from agentd.errors import TaskError
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.streams import WORK
from agentd.protocol.destination import Destination, Requirement
from agentd.protocol.message import AgentMessage
from agentd.protocol.subjects import AGENT_DOMAIN, Subjects
from agentd.routing import registry, routes
from agentd.routing.registry import Replica

# Tasks that may wait on one route before senders are turned away.
QUEUE_LIMIT = 10_000


async def address(
    bus: Bus, subjects: Subjects, to: Destination, message: AgentMessage
) -> Destination:
    """Where exactly `message` is to go, somebody being there to take it.

    A message that names a target goes to that agent; one that needs several capabilities, or
    excludes agents, goes to the route of its own that the eligible agents pull.

    Raises:
        TaskError: nobody online may take it (`no_taker`), or too much waits there (`overloaded`);
            the text says what was asked for and who is there.
        BusError: the registry does not answer.
    """
    requirement = Requirement.of(message, to.domain)
    if message.target is not None:
        to = Destination(AGENT_DOMAIN, message.target)
    online = await registry.online(bus, subjects.env)
    if not any(may_take(replica, to, requirement) for replica in online):
        raise _nobody(subjects.env, to, requirement, online)
    if requirement is not None and to.agent is None:
        await routes.announce(bus, subjects.env, requirement)
        to = requirement.destination
    await _check_room(bus, subjects, to)
    return to


def may_take(replica: Replica, to: Destination, requirement: Requirement | None) -> bool:
    """Whether an agent that is online takes what is sent there and needs this."""
    held = replica.capabilities
    if requirement is not None and not requirement.met_by(replica.agent, held):
        return False
    return replica.agent == to.agent if to.agent else to.domain in held


def _nobody(
    env: str, to: Destination, requirement: Requirement | None, online: Sequence[Replica]
) -> TaskError:
    agents = {replica.agent: " ".join(replica.capabilities) for replica in online}
    there = ", ".join(f"{agent} ({held})" for agent, held in sorted(agents.items()))
    wanted = f"{to} ({requirement})" if requirement else str(to)
    return TaskError(
        f"nobody online in {env!r} takes {wanted}; online: {there or 'no agent at all'}",
        code="no_taker",
        retryable=True,
    )


async def _check_room(bus: Bus, subjects: Subjects, to: Destination) -> None:
    one = to.specificity if to.domain.startswith("_") else None
    request = {"subjects_filter": subjects.work(to.domain, one)}
    info = await jetstream.api(bus, f"STREAM.INFO.{WORK}", request)
    waiting = sum((info["state"].get("subjects") or {}).values())
    if waiting >= QUEUE_LIMIT:
        raise TaskError(
            f"{waiting:,} tasks wait for {to} already; the limit is {QUEUE_LIMIT:,}",
            code="overloaded",
            retryable=True,
        )
