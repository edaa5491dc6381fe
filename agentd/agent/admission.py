"""Whether an agent may run a message, decided before a model call costs anything."""

from __future__ import annotations

from collections.abc import Collection

from agentd.errors import AgentdError, Undeliverable
from agentd.protocol.destination import Destination, Recipients
from agentd.protocol.message import AgentMessage

_SHOWN = 8  # agents of a path that an error names


class Misdirected(AgentdError):
    """The message is for another agent: it is forwarded, once, and not run here."""


def admit(
    message: AgentMessage,
    *,
    to: Destination,
    agent: str,
    capabilities: Collection[str],
    hops: int,
    now: float,
    waited_for: str = "a free slot",
) -> None:
    """Lets `agent` run `message`, sent `to` a destination, at the time `now` (Unix seconds).
    `waited_for` says what has kept it until now.

    Raises:
        Undeliverable: the message has expired (`expired`), was passed on more than `hops` times
            (`hops`), or was emitted by this agent itself (`loop`).
        Misdirected: the message names another agent as its target, needs a capability that this
            agent does not have, or excludes it.
    """
    # The domain itself was checked when the task was pulled. An edit may have removed the
    # capability since then; the task is run all the same, as one that was already running.
    held = (*capabilities, to.domain)
    recipients = Recipients.of(message, to)
    objections = recipients.objections(agent, held)
    if reasons := [each.text for each in objections if each.code != "loop"]:
        raise Misdirected("; ".join(reasons))
    if message.expires_at is not None and now >= message.expires_at:
        late = now - message.expires_at
        raise Undeliverable(
            f"the message expired {late:.1f} s ago, while it waited for {waited_for} "
            f"(routing.timeout {message.routing.timeout} ms)",
            code="expired",
        )
    _check_path(recipients, message, agent, hops)


def _check_path(recipients: Recipients, message: AgentMessage, agent: str, most: int) -> None:
    if agent == recipients.passed_on_by:
        raise Undeliverable(f"{agent} emitted this message itself", code="loop")
    context = message.context
    if context.hops > most:
        path = " > ".join(context.path[-_SHOWN:]) or "an unknown path"
        raise Undeliverable(
            f"passed on {context.hops} times, by {path}; limits.hops of {agent} is {most}",
            code="hops",
        )
