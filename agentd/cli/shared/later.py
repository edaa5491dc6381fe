"""Sends a message later, for `--at` and `--in` of `agentd ask` and `agentd send`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from agentd.cli.shared.visit import visit

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.message import AgentMessage
    from agentd.protocol.subjects import Subjects
    from agentd.run.attachments import Attachment


async def later(
    target: str,
    message: AgentMessage,
    due: datetime,
    *,
    files: Sequence[Attachment],
    as_json: bool,
    env: str | None,
    nats: str | None,
) -> int:
    """Stores a message that the server sends at `due`, and prints its id."""
    from agentd.protocol.destination import Destination

    to = Destination.parse(target)

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.routing.ask import send_later
        from agentd.run.attachments import upload

        await upload(bus, files)
        await send_later(bus, subjects, to, message, due.timestamp())
        when = due.isoformat(timespec="seconds")
        sent = {"id": message.id, "type": message.type, "to": str(to), "due": when}
        text = f"{message.type} {message.id} will be sent to {to} at {when}"
        print(json.dumps(sent) if as_json else text)
        return 0

    return await visit(work, env, nats)
