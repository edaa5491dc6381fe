"""Keeps a nats-py client connected: reconnected after a loss, replaced when it gives up.

nats-py reconnects by itself when a connection breaks. But after some errors, an oversize header for
example, it closes the client permanently, even with `max_reconnect_attempts=-1`. This module then
makes a new client.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import nats.errors

from agentd.background import Background, Work
from agentd.errors import BusError, Forbidden, StartError
from agentd.nats.client import Client, mapped

log = logging.getLogger(__name__)

_REPEAT_AFTER = 30.0  # seconds until it is logged again that a server is awaited
_PAUSE = 0.2  # seconds between two attempts to connect
# How the server words what the permissions do not allow; in the second form the reply is at fault.
_VIOLATION = re.compile(
    r"^-ERR 'Permissions Violation for (Publish|Subscription) "
    r'(?:to "([^"]*)"|with Reply of "([^"]*)")'
)
_LONGEST = 8 * 1024  # bytes of a line of the protocol; subjects have less


class ReconnectingClient:
    """Keeps one nats-py client connected until `close`.

    Args:
        options: keyword arguments of `nats.connect` (servers, token, …).
        on_state: receives a line for the log when the connection is awaited, lost or back.
        on_open: called with every new client, before the connection counts as open. It makes the
            subscriptions, because a new client has none. (When nats-py reconnects a client, it
            restores the subscriptions itself.)
        on_lost: called with the reason when the connection is lost or closed.
        background: holds the work that a connection that comes back starts.
        on_refused: called when the user's permissions do not allow a publish or a subscription.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        on_state: Callable[[str], None],
        *,
        on_open: Callable[[Client], Awaitable[None]],
        on_lost: Callable[[str], None],
        background: Background,
        on_refused: Callable[[Forbidden], None],
    ) -> None:
        self.options = dict(options)
        self._on_state = on_state
        self._on_open = on_open
        self._on_lost = on_lost
        self._on_refused = on_refused
        self._client = Client()
        self._connected = asyncio.Event()
        self._closing = False
        self._reported_at = -_REPEAT_AFTER
        self._rebuild: asyncio.Task[None] | None = None
        self._background = background
        self._after_reconnect: list[tuple[str, Work]] = []
        self._jobs: list[asyncio.Task[None]] = []

    async def open(self, timeout: float | None) -> None:
        """Connects within `timeout` seconds; without one, waits for a server without limit.

        Raises:
            StartError: no server answered within `timeout`.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._open()
        except TimeoutError:
            await self.close()
            raise StartError(f"no NATS server answers at {self.where}") from None

    async def close(self) -> None:
        """Sends what is buffered and closes the connection."""
        self._closing = True
        if self._rebuild:
            self._rebuild.cancel()
        self._on_lost("the connection was closed")
        if self._client.is_connected:
            # Not drain(): it would wait for the handlers of all subscriptions.
            with contextlib.suppress(nats.errors.Error, TimeoutError):
                await self._client.flush(timeout=2)
        with contextlib.suppress(OSError, nats.errors.Error):  # the connection may be broken
            await self._client.close()

    @property
    def connected(self) -> bool:
        """Whether a server is connected now."""
        return self._client.is_connected

    @property
    def where(self) -> str:
        """The servers that the options name, without credentials."""
        servers: Any = self.options.get("servers", "")
        listed = [servers] if isinstance(servers, str) else list(servers)
        return ", ".join(
            f"{scheme}://{rest.rpartition('@')[2]}"
            for scheme, _, rest in (server.partition("://") for server in listed)
        )

    @property
    def info(self) -> Mapping[str, Any]:
        """What the server said of itself when it was connected."""
        return self._client._server_info  # pyright: ignore[reportPrivateUsage]

    async def until_connected(self, deadline: float | None = None) -> None:
        """Returns when a server is connected.

        Raises:
            BusError: no server is connected at `deadline` (of the event loop's clock).
        """
        try:
            async with asyncio.timeout_at(deadline):
                while not self.connected:
                    await self._connected.wait()
                    # nats-py changes its state before it calls back, so the event can be set for a
                    # connection that is lost already: without this the loop would never yield.
                    await asyncio.sleep(0)
        except TimeoutError:
            raise BusError(f"no NATS server at {self.where}") from None

    def after_reconnect(self, name: str, work: Work) -> None:
        """Registers work that is done each time the connection comes back."""
        self._after_reconnect.append((name, work))

    async def fence(self) -> None:
        """Returns when the server has processed everything that was sent before.

        One flush is not enough: nats-py writes its PING ahead of what is still queued, so a
        message published right after it can arrive before a subscription made before it.
        """
        with mapped("flush"):
            # Shielded: nats-py waits with `wait_for`, which in Python 3.11 loses a cancellation
            # that comes with the answer.
            await asyncio.shield(self._client.flush())
            await asyncio.shield(self._client.flush())

    async def _open(self) -> None:
        self._client = Client()
        options: dict[str, Any] = {
            # The default of nats-py gives up after 60 attempts, that is, two minutes.
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": _PAUSE,
            "connect_timeout": 2,
            # Without it a large publish waits without limit when the connection breaks meanwhile.
            "flush_timeout": 2,
            # A server that is frozen, or behind a dead network, is noticed after 20 seconds.
            "ping_interval": 10,
            "max_outstanding_pings": 2,
            "error_cb": self._error,
            "disconnected_cb": self._lost,
            "reconnected_cb": self._back,
            "closed_cb": self._closed,
            **self.options,
        }
        await self._client.connect(**options)
        await self._on_open(self._client)
        self._connected.set()

    async def _error(self, error: Exception) -> None:
        """Logs what nats-py reports; no call raises these errors."""
        # `asyncio.wait_for` of Python 3.11 drops a cancellation that comes when the attempt to
        # connect has just failed. The attempts would go on for ever, although agentd is to end.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        if isinstance(error, nats.errors.UnexpectedEOF):
            return  # the connection is lost, which `_lost` reports
        if "permissions violation" in str(error):
            self._on_refused(self._refusal(error))
            return
        if self.connected:
            log.warning("NATS: %s", error)
        elif not self._closing:
            self._report(f"waiting for NATS at {self.where}: {error or type(error).__name__}")

    def _refusal(self, error: Exception) -> Forbidden:
        """What the server refused. nats-py has put its text into lower case, but calls back while
        the text itself is still the first in the parser's buffer."""
        buffer: Any = self._client._ps.buf  # pyright: ignore[reportPrivateUsage]
        found = _VIOLATION.search(bytes(buffer[:_LONGEST]).decode(errors="replace"))
        if found is None:
            return Forbidden("do this:", str(error))
        return Forbidden(
            "publish to" if found[1] == "Publish" else "subscribe to", found[2] or found[3]
        )

    def _report(self, state: str) -> None:
        """Logs one line in a while: there are five attempts a second at each address, and each
        address has a text of its own."""
        now = time.monotonic()
        if now > self._reported_at + _REPEAT_AFTER:
            self._reported_at = now
            self._on_state(state)

    async def _lost(self) -> None:
        self._connected.clear()
        self._on_lost("the connection to NATS was lost")
        if not self._closing:
            self._on_state(f"lost the connection to NATS at {self.where}")

    async def _back(self) -> None:
        self._connected.set()
        self._reported_at = -_REPEAT_AFTER
        self._on_state(f"connected to NATS at {self.where} again")
        # In tasks of their own: nats-py runs this callback in the task that reconnects, and cancels
        # that task when the connection breaks again.
        for job in self._jobs:
            job.cancel()  # still begun for the connection before
        self._jobs = [self._background.keep(name, work) for name, work in self._after_reconnect]

    async def _closed(self) -> None:
        self._connected.clear()
        self._on_lost("the connection to NATS was closed")
        if not self._closing and self._rebuild is None:
            # In a task: nats-py awaits this callback as part of closing the old client.
            self._rebuild = self._background.keep("connection", self._open_again)

    async def _open_again(self) -> None:
        while not self._closing:
            try:
                await self._open()
                break
            except (OSError, nats.errors.Error) as error:
                self._report(f"waiting for NATS at {self.where}: {error}")
                await asyncio.sleep(_PAUSE)
        self._rebuild = None
        await self._back()
