"""One connection to NATS that outlives its servers: publish, request, subscribe.

The only importer of nats-py. What the library leaves open is closed here: it gives up for good on
some errors (we connect anew and subscribe again), lets a request in flight wait for its timeout
when the connection drops (we fail it at once), and checks a payload's size without its headers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from agentd.errors import BusError, NotStored, StartError, TooLarge, Unheard

__all__ = ["Bus", "Msg", "Subscription"]

log = logging.getLogger(__name__)

Handler = Callable[[Msg], Awaitable[None]]

REQUEST_TIMEOUT = 5.0
_SAY_AGAIN = 30.0  # seconds
# `Header: value\r\n`, the status line, and the empty line after the headers.
_HEADER_LINE, _HEADER_FRAME = 4, len(b"NATS/1.0\r\n\r\n")


@dataclass(eq=False)
class Subscription:
    """A subscription that is made again whenever the connection has to be."""

    subject: str
    handler: Handler
    queue: str = ""
    bus: Bus | None = field(default=None, repr=False)
    live: Any = field(default=None, repr=False)

    async def close(self) -> None:
        """Ends it; messages that are already here may still be handled."""
        if self.bus is not None:
            await self.bus.forget(self)


class Bus:
    """One connection to NATS. Made by `connect`."""

    def __init__(self, options: Mapping[str, Any], on_state: Callable[[str], None]) -> None:
        self.options = dict(options)
        self._say = on_state
        self._client = Client()
        self._subscriptions: list[Subscription] = []
        self._waiting: dict[str, asyncio.Future[Msg]] = {}
        self._inbox = ""
        self._connected = asyncio.Event()
        self._closing = False
        self._said = ("", 0.0)
        self._rebuild: asyncio.Task[None] | None = None
        self._again: list[Callable[[], Awaitable[None]]] = []
        self._jobs: set[asyncio.Task[None]] = set()

    # --- the connection -------------------------------------------------------------------------

    @classmethod
    async def connect(
        cls,
        options: Mapping[str, Any],
        *,
        timeout: float | None = None,
        on_state: Callable[[str], None] = log.info,
    ) -> Bus:
        """Connects with nats-py's `options` (servers, token, …), for `timeout` seconds or for ever.

        `on_state` is told in plain words when the connection is awaited, lost and back.

        Raises:
            StartError: nothing answered within `timeout`.
        """
        bus = cls(options, on_state)
        try:
            async with asyncio.timeout(timeout):
                await bus._open()
        except TimeoutError:
            await bus.close()
            raise StartError(f"no NATS server answers at {bus.where}") from None
        return bus

    async def close(self) -> None:
        """Sends what is buffered and leaves."""
        self._closing = True
        if self._rebuild:
            self._rebuild.cancel()
        self._fail_waiting("the connection was closed")
        if self._client.is_connected:
            with contextlib.suppress(nats.errors.Error, TimeoutError):
                await self._client.flush(timeout=2)
        with contextlib.suppress(OSError, nats.errors.Error):  # it may be gone
            await self._client.close()

    @property
    def connected(self) -> bool:
        """Whether a server is there now."""
        return self._client.is_connected

    @property
    def where(self) -> str:
        """The servers asked for, as the options name them, without credentials."""
        servers: Any = self.options.get("servers", "")
        listed = [servers] if isinstance(servers, str) else list(servers)
        return ", ".join(
            f"{scheme}://{rest.rpartition('@')[2]}"
            for scheme, _, rest in (server.partition("://") for server in listed)
        )

    @property
    def server(self) -> tuple[str, int]:
        """The server's version and its JetStream API level (0 where it names none)."""
        info: dict[str, Any] = self._client._server_info  # pyright: ignore[reportPrivateUsage]
        return str(info.get("version", "?")), int(info.get("api_lvl", 0))

    @property
    def max_message(self) -> int:
        """The bytes of header and payload together that the server takes."""
        return self._client.max_payload

    async def until_connected(self, deadline: float | None = None) -> None:
        """Returns when a server is there.

        Raises:
            BusError: there is none at `deadline` (of the event loop's clock).
        """
        try:
            async with asyncio.timeout_at(deadline):
                while not self.connected:
                    await self._connected.wait()
                    await asyncio.sleep(0)
        except TimeoutError:
            raise BusError(f"no NATS server at {self.where}") from None

    def on_reconnect(self, again: Callable[[], Awaitable[None]]) -> None:
        """Registers work to be done after every loss of the connection, once it is back."""
        self._again.append(again)

    async def fence(self) -> None:
        """Returns when the server has seen all that was sent before.

        Twice: nats-py writes the first PING ahead of what is still queued.
        """
        with _mapped("flush"):
            await self._client.flush()
            await self._client.flush()

    async def _open(self) -> None:
        self._client = Client()
        options: dict[str, Any] = {
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": 0.2,
            "connect_timeout": 2,
            # Else a large publish waits for ever when the connection dies under it.
            "flush_timeout": 2,
            "ping_interval": 10,
            "max_outstanding_pings": 2,
            "error_cb": self._on_error,
            "disconnected_cb": self._on_lost,
            "reconnected_cb": self._on_back,
            "closed_cb": self._on_closed,
            **self.options,
        }
        await self._client.connect(**options)
        self._inbox = self._client.new_inbox()
        await self._client.subscribe(f"{self._inbox}.*", cb=self._on_reply)
        for subscription in self._subscriptions:
            await self._attach(subscription)
        self._connected.set()

    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, nats.errors.UnexpectedEOF):
            return  # the connection is lost, which `_on_lost` says
        if self.connected:
            log.warning("NATS: %s", error)
        elif not self._closing:
            self._say_once(f"waiting for NATS at {self.where}: {error or type(error).__name__}")

    def _say_once(self, text: str) -> None:
        """Says it again only after a while: a server is looked for five times a second."""
        now = time.monotonic()
        if text != self._said[0] or now > self._said[1] + _SAY_AGAIN:
            self._said = (text, now)
            self._say(text)

    async def _on_lost(self) -> None:
        self._connected.clear()
        self._fail_waiting("the connection to NATS was lost")
        if not self._closing:
            self._say(f"lost NATS at {self.where}")

    async def _on_back(self) -> None:
        self._connected.set()
        self._say(f"connected to NATS at {self.where} again")
        # Not awaited here: nats-py reads nothing more until this callback returns.
        for again in self._again:
            self._spawn(again())

    async def _on_closed(self) -> None:
        """nats-py gives up on some errors for good (an oversize header, for one): start afresh."""
        self._connected.clear()
        self._fail_waiting("the connection to NATS was closed")
        if not self._closing and self._rebuild is None:
            self._rebuild = asyncio.create_task(self._open_again())

    async def _open_again(self) -> None:
        while not self._closing:
            try:
                await self._open()
                break
            except (OSError, nats.errors.Error) as error:
                self._say_once(f"waiting for NATS at {self.where}: {error}")
                await asyncio.sleep(0.2)
        self._rebuild = None
        await self._on_back()

    def _spawn(self, work: Awaitable[None]) -> None:
        async def job() -> None:
            try:
                await work
            except BusError as error:
                log.warning("after reconnecting: %s", error)

        task = asyncio.create_task(job())
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    # --- plain messages -------------------------------------------------------------------------

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        reply: str = "",
    ) -> None:
        """Sends to whoever listens now.

        Raises:
            TooLarge: before anything is sent.
            BusError: there is no connection and the buffer is full.
        """
        self._check_size(subject, data, headers)
        task = asyncio.current_task()
        asked = task.cancelling() if task else 0
        with _mapped(subject):
            await self._client.publish(
                subject, data, reply=reply, headers=dict(headers) if headers else None
            )
        if task and task.cancelling() > asked:
            # nats-py swallows a cancellation that comes while it flushes.
            raise asyncio.CancelledError

    async def request(
        self,
        subject: str,
        data: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = REQUEST_TIMEOUT,
    ) -> Msg:
        """Sends and returns the first answer.

        Raises:
            Unheard: nobody listens to `subject`.
            BusError: no answer within `timeout` seconds, or the connection was lost.
        """
        token = secrets.token_hex(8)
        future: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._waiting[token] = future
        try:
            # Outside the timeout: nats-py swallows a cancellation while it flushes.
            await self.publish(subject, data, headers=headers, reply=f"{self._inbox}.{token}")
            async with asyncio.timeout(timeout):
                answer = await future
        except TimeoutError:
            raise BusError(f"{subject}: no answer within {timeout:g} s") from None
        finally:
            del self._waiting[token]
        if answer.headers and answer.headers.get("Status") == "503":
            raise Unheard(f"{subject}: nobody listens to this subject")
        return answer

    async def subscribe(self, subject: str, handler: Handler, queue: str = "") -> Subscription:
        """Calls `handler` (a coroutine function) for each message, one at a time."""
        subscription = Subscription(subject, handler, queue, bus=self)
        self._subscriptions.append(subscription)
        if not self._client.is_closed:  # else it is made with the next connection
            with _mapped(subject):
                await self._attach(subscription)
        return subscription

    async def forget(self, subscription: Subscription) -> None:
        """Ends a subscription; used by `Subscription.close`."""
        subscription.bus = None
        self._subscriptions.remove(subscription)
        with contextlib.suppress(nats.errors.Error):
            if subscription.live:
                await subscription.live.unsubscribe()

    def new_inbox(self) -> str:
        """A subject that only this connection listens to."""
        return self._client.new_inbox()

    # --- objects --------------------------------------------------------------------------------

    async def put_object(self, bucket: str, name: str, data: bytes) -> None:
        """Keeps `data` in an object store of NATS, unless it is there.

        Raises:
            BusError: the store does not take it.
        """
        with _mapped(f"object {name}"):
            store = await self._client.jetstream().object_store(bucket)
            with contextlib.suppress(nats.js.errors.ObjectNotFoundError):
                await store.get_info(name)
                return
            await store.put(name, data)

    async def get_object(self, bucket: str, name: str, *, most: int | None = None) -> bytes:
        """What `put_object` kept.

        Raises:
            NotStored: it is not there.
            TooLarge: it has more than `most` bytes; nothing of it is read.
            BusError: the store does not answer.
        """
        with _mapped(f"object {name}"):
            store = await self._client.jetstream().object_store(bucket)
            try:
                if most is not None:
                    size = (await store.get_info(name)).size or 0
                    if size > most:
                        raise TooLarge(f"object {name}", size=size, limit=most)
                return (await store.get(name)).data or b""
            except nats.js.errors.ObjectNotFoundError:
                raise NotStored(f"there is no object {name}") from None

    async def _attach(self, subscription: Subscription) -> None:
        subscription.live = await self._client.subscribe(
            subscription.subject,
            queue=subscription.queue,
            cb=subscription.handler,
            pending_msgs_limit=-1,
            pending_bytes_limit=64 * 1024 * 1024,
        )

    async def _on_reply(self, msg: Msg) -> None:
        future = self._waiting.get(msg.subject.rpartition(".")[2])
        if future and not future.done():
            future.set_result(msg)

    def _fail_waiting(self, why: str) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(BusError(why))

    def _check_size(self, subject: str, data: bytes, headers: Mapping[str, str] | None) -> None:
        size = len(data)
        if headers:
            size += _HEADER_FRAME + sum(
                len(k) + len(v.encode()) + _HEADER_LINE for k, v in headers.items()
            )
        if size > self.max_message:
            raise TooLarge(subject, size=size, limit=self.max_message)


@contextlib.contextmanager
def _mapped(subject: str) -> Any:
    """nats-py's errors as ours."""
    try:
        yield
    except nats.errors.Error as error:
        raise BusError(f"{subject}: {error or type(error).__name__}") from error
