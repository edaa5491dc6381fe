"""Messages over one connection to NATS: publish, request, subscribe.

It adds two things to nats-py. A request that is in flight when the connection drops fails
immediately, and does not wait for its timeout. And a message that is too large is refused here:
nats-py checks only the payload, but the server counts the headers too, and closes the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js.api import ObjectMeta, ObjectMetaOptions

from agentd.background import Background, Work
from agentd.errors import BusError, Forbidden, NotStored, TooLarge, Unheard
from agentd.nats.client import Client, ReconnectingClient, guarded, mapped, status_of, wire_size
from agentd.nats.waiting import Call, Waiting
from agentd.protocol.server_subjects import object_pieces

__all__ = ["Bus", "Msg", "Subscription", "status_of", "wire_size"]

log = logging.getLogger(__name__)

Handler = Callable[[Msg], Awaitable[None]]
Accept = Callable[[Msg], object]

REQUEST_TIMEOUT = 5.0
_PIECE = 128 * 1024  # bytes; of an object in the object store


@dataclass(eq=False)
class Subscription:
    """A subscription that outlives the client: `Bus` makes it again on every new client."""

    subject: str
    handler: Handler
    queue: str = ""
    bus: Bus | None = field(default=None, repr=False)
    live: Any = field(default=None, repr=False)
    refused: bool = False  # by the permissions of the NATS user

    async def close(self) -> None:
        """Ends it. Messages that have been received already may still be handled."""
        if self.bus is not None:
            await self.bus.forget(self)


class Bus:
    """One connection to NATS. Made by `connect`.

    Attributes:
        background: what those who share the connection do beside its messages. It ends with it.
    """

    def __init__(self, options: Mapping[str, Any], on_state: Callable[[str], None]) -> None:
        self.background = Background()
        self._waiting = Waiting()
        self._connection = ReconnectingClient(
            options,
            on_state,
            on_open=self._adopt,
            on_lost=self._waiting.fail_all,
            on_refused=self._on_refused,
            background=self.background,
        )
        # The client of `_connection`, kept here so that `publish` need not ask for it.
        self._client = Client()
        self._subscriptions: list[Subscription] = []
        # What waits for an answer, and which answers it takes.
        self._requests: dict[str, tuple[asyncio.Future[Msg], Accept]] = {}
        self._inbox = ""

    # --- the connection -------------------------------------------------------------------------

    @classmethod
    async def connect(
        cls,
        options: Mapping[str, Any],
        *,
        timeout: float | None = None,
        on_state: Callable[[str], None] = log.info,
    ) -> Self:
        """Connects with nats-py's `options` (servers, token, …) within `timeout` seconds.

        Without a timeout it waits for a server without limit. `on_state` receives a line for the
        log when the connection is awaited, lost or back.

        Raises:
            StartError: no server answered within `timeout`.
        """
        bus = cls(options, on_state)
        await bus._connection.open(timeout)
        return bus

    async def close(self) -> None:
        """Sends what is buffered and closes the connection."""
        self.background.close()
        await self._connection.close()

    @property
    def options(self) -> dict[str, Any]:
        """The options of `connect`, with which another connection can be made."""
        return self._connection.options

    @property
    def connected(self) -> bool:
        """Whether a server is connected now."""
        return self._connection.connected

    @property
    def where(self) -> str:
        """The servers that the options name, without credentials."""
        return self._connection.where

    @property
    def info(self) -> Mapping[str, Any]:
        """What the server says of itself: `version`, `jetstream`, `cluster`."""
        return self._connection.info

    @property
    def max_message(self) -> int:
        """How many bytes of headers and payload together the server accepts."""
        return self._client.max_payload

    async def until_connected(self, deadline: float | None = None) -> None:
        """Returns when a server is connected.

        Raises:
            BusError: no server is connected at `deadline` (of the event loop's clock).
        """
        await self._connection.until_connected(deadline)

    def on_reconnect(self, name: str, work: Work) -> None:
        """Registers work that is done each time the connection comes back; again if it fails."""
        self._connection.after_reconnect(name, work)

    async def fence(self) -> None:
        """Returns when the server has processed everything that was sent before."""
        await self._connection.fence()

    async def _adopt(self, client: Client) -> None:
        """Makes every subscription on a new client."""
        self._client = client
        # One wildcard inbox for all requests: a subscription for each would cost two more
        # messages to the server.
        self._inbox = client.new_inbox()
        await client.subscribe(f"{self._inbox}.*", cb=self._on_reply)
        for subscription in list(self._subscriptions):
            await self._attach(subscription)

    # --- messages -------------------------------------------------------------------------------

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        reply: str = "",
    ) -> None:
        """Sends to those who are subscribed now; nothing acknowledges it.

        While the connection is lost, nats-py buffers up to 2 MB and sends them later.

        Raises:
            TooLarge: before anything is sent.
            BusError: the connection is closed, or the buffer is full.
        """
        size = wire_size(data, headers)
        if size > self.max_message:
            raise TooLarge(subject, size=size, limit=self.max_message)
        task = asyncio.current_task()
        cancellations = task.cancelling() if task else 0
        with mapped(subject):
            await self._client.publish(
                subject, data, reply=reply, headers=dict(headers) if headers else None
            )
        if task and task.cancelling() > cancellations:
            # nats-py swallows a cancellation that arrives while it flushes.
            raise asyncio.CancelledError

    async def request(
        self,
        subject: str,
        data: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = REQUEST_TIMEOUT,
        accept: Accept = bool,
    ) -> Msg:
        """Sends and returns the first answer that `accept` takes, which is any by default. Anyone
        who subscribes to `subject` may answer.

        Raises:
            Unheard: nothing subscribes to `subject`, and no stream stores it.
            Forbidden: the permissions of the NATS user do not allow it.
            TooLarge: before anything is sent.
            BusError: no answer within `timeout` seconds, or the connection was lost. The message
                may have been received, or may still be.
        """
        token = secrets.token_hex(8)
        future: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._requests[token] = future, accept
        try:
            with self.failing(subject, future.set_exception):
                # Outside the timeout, which works by cancellation: nats-py could swallow it.
                await self.publish(subject, data, headers=headers, reply=f"{self._inbox}.{token}")
                async with asyncio.timeout(timeout):
                    answer = await future
        except TimeoutError:
            raise BusError(f"{subject}: no answer within {timeout:g} s") from None
        finally:
            del self._requests[token]
        # The server's own answer where nothing subscribes to the subject.
        if status_of(answer) == "503":
            raise Unheard(f"{subject}: no subscription and no stream receives this subject")
        return answer

    @contextlib.contextmanager
    def failing(self, subject: str, fail: Callable[[BusError], object]) -> Generator[None]:
        """Calls `fail` when no answer can come any more to what was sent on `subject`: the
        connection was lost, or the permissions do not allow it."""
        call = Call(subject, fail)
        self._waiting.calls.add(call)
        try:
            yield
        finally:
            self._waiting.calls.discard(call)

    @property
    def refused(self) -> list[str]:
        """Subjects of refused subscriptions (permissions); complete after a `fence`."""
        return [each.subject for each in self._subscriptions if each.refused]

    async def subscribe(self, subject: str, handler: Handler, queue: str = "") -> Subscription:
        """Calls `handler` (a coroutine function) for each message, one at a time.

        The server knows of the subscription only after the next `fence`.
        """
        if not inspect.iscoroutinefunction(handler):
            raise BusError(f"{subject}: the handler must be a coroutine function")
        subscription = Subscription(subject, handler, queue, bus=self)
        self._subscriptions.append(subscription)
        if not self._client.is_closed:  # otherwise `_adopt` makes it
            with mapped(subject):
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
        """A new subject for answers to this connection."""
        return self._client.new_inbox()

    # --- objects --------------------------------------------------------------------------------

    async def put_object(self, bucket: str, name: str, data: bytes) -> None:
        """Stores `data` in an object store of NATS, unless it has an object of this name.

        Raises:
            BusError: the object could not be stored.
        """
        with mapped(f"object {name}"):
            store = await self._client.jetstream().object_store(bucket)
            with contextlib.suppress(nats.js.errors.ObjectNotFoundError):
                # A second put would delete the pieces of the first, perhaps under a reader.
                await store.get_info(name)
                return
            # By default nats-py makes pieces that some servers refuse.
            options = ObjectMetaOptions(max_chunk_size=min(_PIECE, self.max_message))
            await store.put(name, data, ObjectMeta(name=name, options=options))

    async def get_object(self, bucket: str, name: str, *, most: int) -> bytes:
        """The object that `put_object` stored.

        Raises:
            NotStored: the store has no such object, or what it says of the object is not valid.
            TooLarge: the object has more than `most` bytes; no more than that is read.
            BusError: the store does not answer.
        """
        with mapped(f"object {name}"):
            store = await self._client.jetstream().object_store(bucket)
            try:
                info: Any = await store.get_info(name)
            except nats.js.errors.ObjectNotFoundError:
                raise NotStored(f"there is no object {name}") from None
            except nats.js.errors.BadObjectMetaError:
                raise NotStored(f"object {name} has an entry that is not valid") from None
            # The entry is a stranger's: any client of the server may write it.
            if info.is_link() or not re.fullmatch(r"\w+", str(info.nuid)):
                raise NotStored(f"object {name} has an entry that is not valid")
            if isinstance(info.size, int) and info.size > most:
                raise TooLarge(f"object {name}", size=info.size, limit=most)
            return await self._read(object_pieces(bucket, info.nuid), most) if info.size else b""

    async def _read(self, subject: str, most: int) -> bytes:
        """The pieces of an object. nats-py's own `get` follows links, and reads without a limit:
        the size that it compares in the end is what the writer wrote."""
        data = bytearray()
        pieces = await self._client.jetstream().subscribe(subject, ordered_consumer=True)
        try:
            async for piece in pieces.messages:
                data += piece.data
                if len(data) > most:
                    raise TooLarge(subject, size=len(data), limit=most)
                if not piece.metadata.num_pending:
                    break
        finally:
            with contextlib.suppress(nats.errors.Error):
                await pieces.unsubscribe()
        return bytes(data)

    async def _attach(self, subscription: Subscription) -> None:
        subscription.live = await self._client.subscribe(
            subscription.subject,
            queue=subscription.queue,
            # A callback, because nats-py's `async for` handles a third as many messages a second.
            cb=guarded(subscription.handler),
            # Over a limit nats-py drops messages, and only `error_cb` learns of it. Only the bytes
            # matter to us: any number of small messages may wait.
            pending_msgs_limit=-1,
            pending_bytes_limit=64 * 1024 * 1024,
        )

    async def _on_reply(self, msg: Msg) -> None:
        answer, accept = self._requests.get(msg.subject.rpartition(".")[2], (None, bool))
        if answer and not answer.done() and (status_of(msg) or accept(msg)):
            answer.set_result(msg)

    def _on_refused(self, error: Forbidden) -> None:
        for subscription in self._subscriptions:
            subscription.refused |= subscription.subject == error.subject
        self._waiting.refuse(error, inbox=self._inbox)
