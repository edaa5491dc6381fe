"""What `agentd ask` and `agentd send` do with `--at` and `--in`: the server sends it when due."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentd.protocol.message import AgentMessage
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
    """Puts `message` on record to be sent at `due`, and prints its id."""
    from agentd.nats.session import visit
    from agentd.protocol.destination import Destination
    from agentd.protocol.subjects import Subjects
    from agentd.routing.ask import send_later
    from agentd.run.attachments import upload
    from agentd.settings import from_environment

    settings = from_environment(env=env, nats=nats)
    to = Destination.parse(target)
    async with visit(settings) as bus:
        await upload(bus, files)
        await send_later(bus, Subjects(settings.env), to, message, due.timestamp())
    when = due.isoformat(timespec="seconds")
    sent = {"id": message.id, "type": message.type, "to": str(to), "due": when}
    text = f"{message.type} {message.id} will be sent to {to} at {when}"
    print(json.dumps(sent) if as_json else text)
    return 0
