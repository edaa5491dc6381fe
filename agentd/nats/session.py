"""How a command reaches NATS: as a server of agents (`serve`) or as a visitor (`visit`)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable

from agentd.errors import StartError
from agentd.nats.bus import Bus
from agentd.nats.connection import resolve
from agentd.nats.server import EmbeddedServer, find
from agentd.settings import Settings

log = logging.getLogger(__name__)

_VISIT = 3.0  # seconds that a visitor waits for an answer
_LOOK = 0.2  # seconds between two looks at a connection that may need a server


@contextlib.asynccontextmanager
async def serve(settings: Settings, on_state: Callable[[str], None]) -> AsyncGenerator[Bus]:
    """A connection that is waited for and kept, with the embedded server where one is wanted.

    Raises:
        StartError: the embedded server cannot start.
        UsageError: the connection's settings are wrong.
    """
    target = resolve(settings)
    if not target.embedded:
        bus = await Bus.connect(target.options(), on_state=on_state)
        try:
            yield bus
        finally:
            await bus.close()
        return
    embedded = EmbeddedServer(settings.state, settings.durability)
    server = await embedded.ensure()
    bus = await Bus.connect(target.at(server.url, server.token).options(), on_state=on_state)
    keeper = asyncio.create_task(_keep(embedded, bus))
    try:
        yield bus
    finally:
        keeper.cancel()
        await bus.close()
        await embedded.stop()


@contextlib.asynccontextmanager
async def visit(settings: Settings) -> AsyncGenerator[Bus]:
    """A connection for one short command.

    Raises:
        StartError: nobody is there; the text says how to start somebody.
        UsageError: the connection's settings are wrong.
    """
    target = resolve(settings)
    if target.embedded:
        server = find(settings.state)
        if server is None:
            raise StartError(
                "no agentd is running in this folder; start one with `agentd up manifests/`, "
                "or name a server with --nats or NATS_URL"
            )
        target = target.at(server.url, server.token)
    level = logging.DEBUG  # that nobody is there says the error

    def say(text: str) -> None:
        log.log(level, text)

    bus = await Bus.connect(target.options(), timeout=_VISIT, on_state=say)
    level = logging.WARNING
    try:
        yield bus
    finally:
        await bus.close()


async def _keep(embedded: EmbeddedServer, bus: Bus) -> None:
    """Starts the embedded server again whenever it is gone: killed, or ended with its owner."""
    while True:
        await asyncio.sleep(_LOOK)
        if bus.connected:
            continue
        try:
            await embedded.ensure()
        except StartError as error:
            log.error("%s", error)
            await asyncio.sleep(1)
