"""Whether an agent may run a message, decided before its model costs anything."""

from __future__ import annotations

from collections.abc import Collection

from agentd.errors import AgentdError, Undeliverable
from agentd.protocol.destination import Requirement
from agentd.protocol.message import AgentMessage

_SHOWN = 8  # agents of a path that an error names


class Misdirected(AgentdError):
    """The message is for somebody else: it is forwarded, once, and not run here."""


def admit(
    message: AgentMessage,
    *,
    domain: str,
    agent: str,
    capabilities: Collection[str],
    hops: int,
    now: float,
) -> None:
    """Lets `agent` run `message`, sent to `domain`, at the time `now` (Unix seconds), or raises.

    Raises:
        Undeliverable: it has expired (`expired`), was handed on more than `hops` times (`hops`),
            or the agent itself has just handed it on (`loop`).
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
    _check_path(message, agent, hops)


def _check_path(message: AgentMessage, agent: str, most: int) -> None:
    context = message.context
    if context.path and context.path[-1] == agent:
        raise Undeliverable(f"{agent} would get what it has just handed on itself", code="loop")
    if context.hops > most:
        came = " > ".join(context.path[-_SHOWN:]) or "an unknown path"
        raise Undeliverable(
            f"handed on {context.hops} times, by {came}; limits.hops of {agent} is {most}",
            code="hops",
        )
