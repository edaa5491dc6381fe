"""Runs the work of a command on a connection to the server and the index of its log."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.subjects import Subjects
    from agentd.record.index.index import Index

# Returns the exit code of the command.
Work = Callable[["Bus", "Subjects", "Index"], Awaitable[int]]


async def indexed(work: Work, env: str | None, nats: str | None) -> int:
    """Connects, runs `work`, and disconnects; returns what `work` returns.

    Raises:
        StartError: no server answers.
        UsageError: the environment or the address is wrong.
    """
    from agentd.cli.shared.status_line import StatusLine
    from agentd.nats import session
    from agentd.protocol.subjects import Subjects
    from agentd.record.index.index import Index
    from agentd.settings import from_environment

    settings = from_environment(env=env, nats=nats)
    async with session.visit(settings) as bus:
        gc.set_threshold(100_000)  # messages are many objects without cycles
        index = Index(bus, settings.index_folder)
        async with StatusLine("reading the log").ticking():  # the first time takes long
            await index.update()
        return await work(bus, Subjects(settings.env), index)
