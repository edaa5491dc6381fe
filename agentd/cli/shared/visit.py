"""Runs the work of a command on a connection to the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.subjects import Subjects

# Returns the exit code of the command.
Work = Callable[["Bus", "Subjects"], Awaitable[int]]


async def visit(work: Work, env: str | None, nats: str | None) -> int:
    """Connects, runs `work`, and disconnects; returns what `work` returns.

    Raises:
        StartError: no server answers.
        UsageError: the environment or the address is wrong.
    """
    from agentd.nats import session
    from agentd.protocol.subjects import Subjects
    from agentd.settings import from_environment

    settings = from_environment(env=env, nats=nats)
    subjects = Subjects(settings.env)
    async with session.visit(settings) as bus:
        return await work(bus, subjects)
