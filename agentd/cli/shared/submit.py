"""Sends a message now, or has the server send it later, and prints its id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agentd.cli.shared.clock import clock
from agentd.cli.shared.console import say, say_json

if TYPE_CHECKING:
    from datetime import datetime

    from agentd.cli.shared.visit import Work
    from agentd.nats.bus import Bus
    from agentd.protocol.destination import Destination
    from agentd.protocol.message import AgentMessage
    from agentd.protocol.subjects import Subjects
    from agentd.run.attachments import Attachment


def submit(
    target: str,
    message: AgentMessage,
    *,
    due: datetime | None,
    files: Sequence[Attachment],
    as_json: bool,
) -> Work:
    """The work of sending a task or an event: at `due`, or now if that is None.

    Raises:
        UsageError: `target` is not a target.
    """
    from agentd.protocol.destination import Destination

    to = Destination.parse(target)

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.errors import UsageError
        from agentd.routing.ask import send_later
        from agentd.run.attachments import upload

        if message.type == "task" and await has_result(bus, subjects, message.id):
            why = f"task {message.id} has a result already, and no task runs twice"
            raise UsageError(f"{why}; to run it again under a new id: agentd send --again")
        # Before the message: an agent may start on that as soon as it is stored.
        await upload(bus, files)
        sent: dict[str, Any] = {"id": message.id, "type": message.type, "to": str(to)}
        text = f"{message.type} {message.id}"
        if due:
            await send_later(bus, subjects, to, message, due.timestamp())
            sent["due"] = due.isoformat(timespec="seconds")
            text += f" will be sent to {to} at {clock(due.timestamp())}"
        else:
            sent["sequence"] = await _store(bus, subjects, to, message)
            text += f" sent to {to}"
        if as_json:
            say_json(sent)
        else:
            say(text)
        return 0

    return work


async def has_result(bus: Bus, subjects: Subjects, task: str) -> bool:
    """Whether the log has a result of a task."""
    from agentd.nats import jetstream
    from agentd.nats.streams import LOG

    return bool(await jetstream.last(bus, LOG, subjects.pattern(f"result.*.*.{task}")))


async def _store(bus: Bus, subjects: Subjects, to: Destination, message: AgentMessage) -> int:
    """Stores the message in the log; returns its sequence."""
    from agentd.nats import jetstream
    from agentd.protocol.message import encode
    from agentd.routing.ask import send

    if message.type == "task":
        return await send(bus, subjects, to, message)
    subject = subjects.event(to.domain, to.specificity)
    return await jetstream.store(bus, subject, encode(message), message_id=message.id)
