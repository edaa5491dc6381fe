"""A durable consumer on a stream: all replicas pull from it, and each message is handled once."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from agentd.errors import BusError
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg, status_of
from agentd.nats.jetstream import ApiError
from agentd.nats.streams import SECOND
from agentd.protocol.server_subjects import is_acknowledgement, next_message

ACK_WAIT = 30.0  # seconds until a message that nobody settles is delivered again
_IDLE = 7 * 86400.0  # seconds that the server keeps the consumer without a replica
_PULL = 20.0  # seconds that a pull waits for messages
_SLACK = 3.0  # seconds that its end may be late
_MISSING, _THERE_ALREADY = (10014, 10149), (10148, 10105)


class Consumer:
    """One durable consumer of the messages on `subject`, which may have wildcards.

    `begin` says where a new consumer begins, in the words of the server; one that exists keeps its
    place.
    """

    def __init__(
        self, bus: Bus, stream: str, name: str, *, subject: str, begin: Mapping[str, Any]
    ) -> None:
        self._bus = bus
        self._stream = stream
        self._name = name
        self._config = {
            "durable_name": name,
            "name": name,
            "ack_policy": "explicit",
            "ack_wait": int(ACK_WAIT * SECOND),
            "max_deliver": -1,
            "max_ack_pending": -1,
            "inactive_threshold": int(_IDLE * SECOND),
            "filter_subjects": [subject],
            **begin,
        }

    async def make(self) -> None:
        """Creates the consumer, unless it exists.

        Raises:
            BusError: the server does not answer, or refuses it.
        """
        call = f"{self._stream}.{self._name}"
        try:
            await jetstream.api(self._bus, f"CONSUMER.INFO.{call}")
        except ApiError as error:
            if error.code not in _MISSING:
                raise
            request = {"stream_name": self._stream, "config": self._config, "action": "create"}
            try:
                await jetstream.api(self._bus, f"CONSUMER.CREATE.{call}", request)
            except ApiError as error:
                if error.code not in _THERE_ALREADY:  # another replica was faster
                    raise

    async def messages(self, most: int) -> AsyncIterator[Msg]:
        """Up to `most` messages as they arrive, for 20 seconds.

        Raises:
            BusError: the connection was lost, or the consumer was deleted.
        """
        arrived: asyncio.Queue[Msg | BusError] = asyncio.Queue()
        inbox, request = self._bus.new_inbox(), next_message(self._stream, self._name)
        answers = await self._bus.subscribe(inbox, arrived.put)
        body = json.dumps({"batch": most, "expires": int(_PULL * SECOND)}).encode()
        try:
            with self._bus.failing(request, arrived.put_nowait):
                await self._bus.publish(request, body, reply=inbox)
                for _ in range(most):
                    # Not `wait_for`: in Python 3.11 it loses a cancellation that comes together
                    # with a message.
                    async with asyncio.timeout(_PULL + _SLACK):
                        msg = await arrived.get()
                    if isinstance(msg, BusError):
                        raise msg
                    if not is_acknowledgement(msg.reply):
                        _check_end(msg, request)
                        return
                    yield msg
        except TimeoutError:
            return  # the server should have ended the pull; the next one asks again
        finally:
            await answers.close()

    async def ack(self, msg: Msg) -> None:
        """Ends a message. Without a server it may be delivered again."""
        with contextlib.suppress(BusError):
            await self._bus.request(msg.reply, b"+ACK", timeout=2.0)

    async def nak(self, msg: Msg, delay: float) -> None:
        """Hands a message back, to be delivered again after `delay` seconds."""
        with contextlib.suppress(BusError):
            wait = json.dumps({"delay": int(delay * SECOND)})
            await self._bus.publish(msg.reply, f"-NAK {wait}".encode())


def _check_end(msg: Msg, request: str) -> None:
    """Returns if a pull has ended because its time is over or it has all messages.

    Raises:
        BusError: it has ended for another reason: the consumer was deleted, for example.
    """
    status = status_of(msg)
    text = (msg.headers or {}).get("Description", "")
    if status == "503" or "deleted" in text.lower():
        raise BusError(f"{request}: {text or status}")
