"""How a command connects to NATS: `serve` to run agents, `visit` for one short command."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from functools import partial

from agentd.errors import StartError
from agentd.nats.bus import Bus
from agentd.nats.connection import resolve
from agentd.nats.provision import require_jetstream
from agentd.nats.records import report_skipped
from agentd.nats.server import EmbeddedServer, find
from agentd.settings import Settings

log = logging.getLogger(__name__)

_VISIT_TIMEOUT = 3.0  # seconds that a short command waits for a server
_CHECK = 0.2  # seconds between two checks of whether the embedded server must be started again


@contextlib.asynccontextmanager
async def serve(settings: Settings, on_state: Callable[[str], None]) -> AsyncGenerator[Bus]:
    """A lasting connection, to the embedded server if the settings name no other.

    It waits without limit for a server that is not there yet.

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
    keeper = bus.background.keep("embedded server", partial(_keep, embedded, bus))
    try:
        yield bus
    finally:
        keeper.cancel()  # first: it would start the server again
        await bus.close()
        await embedded.stop()


@contextlib.asynccontextmanager
async def visit(settings: Settings) -> AsyncGenerator[Bus]:
    """A connection for one short command, which starts no server.

    Raises:
        StartError: no server answers within three seconds, or it has no JetStream; the text says
            what to do.
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
    level = logging.DEBUG  # while connecting: the StartError reports a server that does not answer

    def on_state(text: str) -> None:
        log.log(level, text)

    bus = await Bus.connect(target.options(), timeout=_VISIT_TIMEOUT, on_state=on_state)
    level = logging.WARNING
    try:
        await require_jetstream(bus)
        yield bus
    finally:
        report_skipped()
        await bus.close()


async def _keep(embedded: EmbeddedServer, bus: Bus) -> None:
    """Starts the embedded server again whenever it ends: killed, or stopped with its owner."""
    while True:
        await asyncio.sleep(_CHECK)
        if bus.connected:
            continue
        try:
            await embedded.ensure()
        except StartError as error:
            log.error("%s", error)
            await asyncio.sleep(1)
