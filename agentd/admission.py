"""Whether an agent may run a message, decided before its model costs anything."""

from __future__ import annotations

from agentd.errors import AgentdError, Undeliverable
from agentd.message import AgentMessage


class Misdirected(AgentdError):
    """The message is for somebody else: it is forwarded to `target`, once, and not run here."""

    def __init__(self, target: str) -> None:
        super().__init__(f"this message is for {target}")
        self.target = target


def admit(message: AgentMessage, *, agent: str, now: float) -> None:
    """Lets `agent` run `message` at the time `now` (seconds since the epoch), or raises.

    Raises:
        Undeliverable: it has expired.
        Misdirected: it names another agent as its target.
    """
    if message.target is not None and message.target != agent:
        raise Misdirected(message.target)
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
