"""Runs the work of a command on a connection to the server."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
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
    with of_a_trace():
        async with session.visit(settings) as bus:
            return await work(bus, subjects)


def of_a_trace() -> AbstractContextManager[None]:
    """Around what a command sends: it is part of the trace in the variables `TRACEPARENT` and
    `TRACESTATE`, as a build system sets them."""
    from agentd.protocol.trace import TraceContext, entered

    return entered(TraceContext.of(os.environ))
