"""Whether an agent may run a message, decided before its model costs anything."""

from __future__ import annotations

from collections.abc import Collection

from agentd.errors import AgentdError, Undeliverable
from agentd.message import AgentMessage
from agentd.routes import Requirement


class Misdirected(AgentdError):
    """The message is for somebody else: it is forwarded, once, and not run here."""


def admit(
    message: AgentMessage, *, domain: str, agent: str, capabilities: Collection[str], now: float
) -> None:
    """Lets `agent` run `message`, sent to `domain`, at the time `now` (Unix seconds), or raises.

    Raises:
        Undeliverable: it has expired.
        Misdirected: it names another agent as its target, asks for a capability that this agent
            has not, or excludes it.
    """
    if message.target not in (None, agent):
        raise Misdirected(f"this task is for {message.target}")
    requirement = Requirement.of(message, domain)
    if requirement is not None and not requirement.met_by(agent, capabilities):
        raise Misdirected(f"this task is for {requirement}")
    if message.expires_at is not None and now >= message.expires_at:
        late = now - message.expires_at
        raise Undeliverable(
            f"the message expired {late:.1f} s ago (routing.timeout {message.routing.timeout} ms)",
            code="expired",
        )


def deadline(message: AgentMessage, *, limit: float, now: float) -> float:
    """The seconds that a run may take: the agent's `limit`, the sender's constraint, the expiry."""
    bounds = [limit]
    constraints = message.payload.constraints
    if constraints.timeout is not None:
        bounds.append(constraints.timeout / 1000)
    if message.expires_at is not None:
        bounds.append(message.expires_at - now)
    return max(0.0, min(bounds))
