"""One connection to NATS that outlives its servers: publish, store, request, subscribe.

The only importer of nats-py. What the library leaves open is closed here: it gives up for good on
some errors (we connect anew and subscribe again), lets a request in flight wait for its timeout
when the connection drops (we fail it at once), and checks a payload's size without its headers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from agentd.errors import BusError, Conflict, NotStored, StartError, TooLarge

__all__ = ["Bus", "Msg", "Subscription"]

log = logging.getLogger(__name__)

Handler = Callable[[Msg], Awaitable[None]]

REQUEST_TIMEOUT = 5.0
_ONE_TRY = 2.0  # seconds that one try of a store waits for its acknowledgement
_WRONG_LAST_SEQUENCE = 10071
# `Header: value\r\n`, the status line, and the empty line after the headers.
_HEADER_LINE, _HEADER_FRAME = 4, len(b"NATS/1.0\r\n\r\n")
_REFUSED_FOR_GOOD = frozenset({10054, 10077})  # message too large for the server or the stream


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
        self._options = dict(options)
        self._say = on_state
        self._client = Client()
        self._subscriptions: list[Subscription] = []
        self._waiting: dict[str, asyncio.Future[Msg]] = {}
        self._inbox = ""
        self._connected = asyncio.Event()
        self._closing = False
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
        await self._client.close()

    @property
    def connected(self) -> bool:
        """Whether a server is there now."""
        return self._client.is_connected

    @property
    def where(self) -> str:
        """The servers asked for, as the options name them, without credentials."""
        servers: Any = self._options.get("servers", "")
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
            **self._options,
        }
        await self._client.connect(**options)
        self._inbox = self._client.new_inbox()
        await self._client.subscribe(f"{self._inbox}.*", cb=self._on_reply)
        for subscription in self._subscriptions:
            await self._attach(subscription)
        self._connected.set()

    async def _on_error(self, error: Exception) -> None:
        if self.connected:
            log.warning("NATS: %s", error)
        elif not self._closing:
            self._say(f"waiting for NATS at {self.where}: {error or type(error).__name__}")

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
                self._say(f"waiting for NATS at {self.where}: {error}")
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
        with _mapped(subject):
            await self._client.publish(
                subject, data, reply=reply, headers=dict(headers) if headers else None
            )

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
            NotStored: nobody listens to `subject`.
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
            raise NotStored(f"{subject}: nobody listens to this subject")
        return answer

    async def subscribe(self, subject: str, handler: Handler, queue: str = "") -> Subscription:
        """Calls `handler` (a coroutine function) for each message, one at a time."""
        subscription = Subscription(subject, handler, queue, bus=self)
        self._subscriptions.append(subscription)
        with _mapped(subject):
            await self._attach(subscription)
        return subscription

    async def forget(self, subscription: Subscription) -> None:
        """Ends a subscription; used by `Subscription.close`."""
        subscription.bus = None
        self._subscriptions.remove(subscription)
        with contextlib.suppress(nats.errors.Error):
            await subscription.live.unsubscribe()

    def new_inbox(self) -> str:
        """A subject that only this connection listens to."""
        return self._client.new_inbox()

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

    # --- JetStream ------------------------------------------------------------------------------

    async def api(self, verb: str, request: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One call of the JetStream API, e.g. `api("STREAM.INFO.AGENTD_LOG")`; the server's answer.

        Raises:
            ApiError: the server refused; `code` is its error code.
            BusError: no answer.
        """
        body = json.dumps(request).encode() if request is not None else b""
        answer = await self.request(f"$JS.API.{verb}", body)
        reply: dict[str, Any] = json.loads(answer.data)
        if "error" in reply:
            raise ApiError(verb, reply["error"])
        return reply

    async def store(
        self,
        subject: str,
        data: bytes,
        *,
        message_id: str,
        create: bool = False,
        headers: Mapping[str, str] | None = None,
        patience: float = 30.0,
    ) -> int:
        """Stores one message; returns its sequence in the stream.

        Retried with the same `message_id` for `patience` seconds: a publish that timed out may
        have been stored, and the server drops what it knows by its id. With `create`, only the
        first message of the subject is taken.

        Raises:
            Conflict: `create`, and the subject holds a message already.
            NotStored: no stream takes the subject, or the server refused the message.
            TooLarge: before anything is sent.
            BusError: no acknowledgement within `patience`.
        """
        headers = {**(headers or {}), "Nats-Msg-Id": message_id}
        if create:
            headers["Nats-Expected-Last-Subject-Sequence"] = "0"
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        retried = False
        while True:
            try:
                answer = await self.request(subject, data, headers=headers, timeout=_ONE_TRY)
                return _sequence(subject, json.loads(answer.data))
            except Conflict:
                # The server checks for an earlier message before it looks at the id, so the
                # earlier message may be our own, stored by the try that timed out.
                if retried and (ours := await self._stored_as(subject, message_id)):
                    return ours
                raise
            except (NotStored, TooLarge):
                raise
            except BusError:
                if loop.time() >= deadline:
                    raise
            retried = True
            await self.until_connected(deadline)

    async def _stored_as(self, subject: str, message_id: str) -> int | None:
        """The sequence of the last message on `subject` if it has this id."""
        found = await self.api("STREAM.NAMES", {"subject": subject})
        last = await self.last(found["streams"][0], subject)
        if last is None or not last.headers or last.headers.get("Nats-Msg-Id") != message_id:
            return None
        return int(last.headers["Nats-Sequence"])

    async def last(self, stream: str, subject: str) -> Msg | None:
        """The newest message that `stream` holds on `subject` (no wildcards)."""
        answer = await self.request(f"$JS.API.DIRECT.GET.{stream}.{subject}")
        return None if answer.headers and answer.headers.get("Status") else answer

    async def stored(self, stream: str, subject: str, *, start: int = 1) -> AsyncIterator[Msg]:
        """What `stream` holds on `subject` (wildcards allowed) from sequence `start`, oldest first.

        Each message carries `Nats-Subject`, `Nats-Sequence` and `Nats-Time-Stamp` in its headers.
        """
        while True:
            seen = 0
            async for msg in self._batch(stream, subject, start):
                start, seen = int((msg.headers or {})["Nats-Sequence"]) + 1, seen + 1
                yield msg
            if not seen:
                return

    async def _batch(self, stream: str, subject: str, start: int) -> AsyncIterator[Msg]:
        """One batch of a direct get; a message with a status ends it."""
        arrived: asyncio.Queue[Msg] = asyncio.Queue()
        inbox = self.new_inbox()
        subscription = await self.subscribe(inbox, arrived.put)
        body = json.dumps({"batch": 256, "seq": start, "next_by_subj": subject}).encode()
        try:
            await self.publish(f"$JS.API.DIRECT.GET.{stream}", body, reply=inbox)
            while True:
                msg = await asyncio.wait_for(arrived.get(), REQUEST_TIMEOUT)
                if msg.headers and msg.headers.get("Status"):
                    return
                yield msg
        except TimeoutError:
            raise BusError(f"{stream}: no answer within {REQUEST_TIMEOUT:g} s") from None
        finally:
            await subscription.close()


class ApiError(BusError):
    """The JetStream API refused a call; `code` is the server's error code."""

    def __init__(self, verb: str, error: Mapping[str, Any]) -> None:
        super().__init__(f"{verb}: {error.get('description', error)}")
        self.code = int(error.get("err_code", 0))


def _sequence(subject: str, ack: Mapping[str, Any]) -> int:
    """The sequence of a publish acknowledgement, or the error that it stands for."""
    error = ack.get("error")
    if not error:
        return int(ack["seq"])
    code = error.get("err_code")
    if code == _WRONG_LAST_SEQUENCE:
        raise Conflict(f"{subject}: there is one already")
    if error.get("code", 0) >= 500 and code not in _REFUSED_FOR_GOOD:
        raise BusError(f"{subject}: {error.get('description')}")
    raise NotStored(f"{subject}: {error.get('description')}")


@contextlib.contextmanager
def _mapped(subject: str) -> Any:
    """nats-py's errors as ours."""
    try:
        yield
    except nats.errors.Error as error:
        raise BusError(f"{subject}: {error or type(error).__name__}") from error
