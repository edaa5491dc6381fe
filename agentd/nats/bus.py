"""Messages over one connection to NATS: publish, request, subscribe.

It adds two things to nats-py. A request that is in flight when the connection drops fails
immediately, and does not wait for its timeout. And a message that is too large is refused here:
nats-py checks only the payload, but the server counts the headers too, and closes the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import logging
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, cast

import nats.errors
from nats.aio.msg import Msg

from agentd.background import Background, Work
from agentd.errors import BusError, Forbidden, TooLarge, Unheard
from agentd.nats.client import Client, Raw, failure, guarded, mapped, status_of, wire_size
from agentd.nats.reconnecting import ReconnectingClient
from agentd.nats.waiting import Call, Waiting

__all__ = ["Bus", "Msg", "Raw", "Subscription", "status_of", "wire_size"]

log = logging.getLogger(__name__)

Handler = Callable[[Msg], Awaitable[None]]
Listener = Callable[[Msg], None]
Accept = Callable[[Msg], object]

REQUEST_TIMEOUT = 5.0


@dataclass(eq=False)
class Subscription:
    """A subscription that outlives the client: `Bus` makes it again on every new client."""

    subject: str
    handler: Handler | Listener | Raw
    queue: str = ""
    plain: bool = False  # whether the handler is a `Listener` or `Raw`
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
        self._tokens = map(str, itertools.count())
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
        await client.listen(f"{self._inbox}.*", self._on_reply)
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
        try:
            await self._client.publish(
                subject, data, reply=reply, headers=dict(headers) if headers else None
            )
        except nats.errors.Error as error:
            raise failure(subject, error) from error
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
        # The inbox cannot be guessed, so the tokens in it may be.
        token, loop = next(self._tokens), asyncio.get_running_loop()
        future: asyncio.Future[Msg] = loop.create_future()
        call = Call(subject, future.set_exception)
        self._requests[token] = future, accept
        self._waiting.calls.add(call)
        try:
            await self.publish(subject, data, headers=headers, reply=f"{self._inbox}.{token}")
            timer = loop.call_later(timeout, call.late, timeout)
            try:
                answer = await future
            finally:
                timer.cancel()
        finally:
            self._waiting.calls.discard(call)
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
        return await self._add(Subscription(subject, handler, queue, bus=self))

    async def listen(self, subject: str, listener: Listener | Raw) -> Subscription:
        """Calls `listener`, a plain function that does not wait, as soon as a message is read: for
        subjects on which each task has a message."""
        return await self._add(Subscription(subject, listener, plain=True, bus=self))

    async def _add(self, subscription: Subscription) -> Subscription:
        self._subscriptions.append(subscription)
        if not self._client.is_closed:  # otherwise `_adopt` makes it
            with mapped(subscription.subject):
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

    async def _attach(self, subscription: Subscription) -> None:
        subject, handler = subscription.subject, subscription.handler
        if subscription.plain:
            listener = cast("Listener | Raw", handler)
            subscription.live = await self._client.listen(subject, listener)
            return
        subscription.live = await self._client.subscribe(
            subject,
            queue=subscription.queue,
            # A callback, because nats-py's `async for` handles a third as many messages a second.
            cb=guarded(cast("Handler", handler)),
            # Over a limit nats-py drops messages, and only `error_cb` learns of it. Only the bytes
            # matter to us: any number of small messages may wait.
            pending_msgs_limit=-1,
            pending_bytes_limit=64 * 1024 * 1024,
        )

    def _on_reply(self, msg: Msg) -> None:
        answer, accept = self._requests.get(msg.subject.rpartition(".")[2], (None, bool))
        if answer and not answer.done() and (accept(msg) or status_of(msg)):
            answer.set_result(msg)

    def _on_refused(self, error: Forbidden) -> None:
        for subscription in self._subscriptions:
            subscription.refused |= subscription.subject == error.subject
        self._waiting.refuse(error, inbox=self._inbox)
