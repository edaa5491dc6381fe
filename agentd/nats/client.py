"""nats-py's client, mended where a stranger's message would end it, and its messages and errors."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

import nats.aio.client
import nats.errors
from nats.aio.msg import Msg

from agentd.errors import BusError

__all__ = ["Client", "Msg", "Raw", "failure", "guarded", "mapped", "status_of", "wire_size"]

log = logging.getLogger(__name__)

# `Header: value\r\n`, the status line, and the empty line after the headers.
_HEADER_LINE, _HEADER_FRAME = 4, len(b"NATS/1.0\r\n\r\n")
_LONGEST_HEADERS = 32 * 1024  # bytes; 8 MB of headers would stop the process for a second
_AROUND = " \t\n\r\x0b\x0c"  # names and values of headers
_space = re.compile(r"\s").search


@dataclass(frozen=True)
class Raw:
    """A listener to whom messages are given as they came: the bytes of the headers, and the data.
    For readers of many messages, of which no header is needed."""

    take: Callable[[bytes, bytes], None]


class Client(nats.aio.client.Client):
    """nats-py's client, of which a message that it cannot decode takes nothing but itself.

    The server takes any bytes as a subject. But where one is not UTF-8, nats-py ends the loop that
    reads from the server, and still calls itself connected.

    """

    def __init__(self) -> None:
        super().__init__()
        # By the number of a subscription.
        self._listeners: dict[int, Callable[[Msg], None] | Raw] = {}

    async def listen(self, subject: str, listener: Callable[[Msg], None] | Raw) -> Any:
        """Subscribes a plain function, which is called as soon as a message is read.

        nats-py puts each message into a queue, and wakes a task: that costs more than what most
        answers are needed for.
        """

        # It knows the listener before the server knows the subscription.
        number = self._sid + 1
        self._listeners[number] = listener
        try:
            # With a future, which is never used, nats-py makes no task for the subscription.
            return await self.subscribe(subject, future=asyncio.Future())
        except BaseException:
            self._listeners.pop(number, None)
            raise

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._listeners.pop(sid, None)
        super()._remove_sub(sid, max_msgs)

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        if not (subject.isascii() and reply.isascii()):
            subject, reply = _as_utf8(subject), _as_utf8(reply)
        listener = self._listeners.get(sid)
        try:
            if listener is None:
                await super()._process_msg(sid, subject, reply, data, headers)
            elif isinstance(listener, Raw):
                listener.take(headers, data)
            else:
                parsed = await self._process_headers(headers) if headers else None
                listener(Msg(self, subject.decode(), reply.decode(), data, parsed))
        except Exception as error:
            log.exception("a message on %r cannot be read: %s", subject[:200], error)

    async def _process_pong(self) -> None:
        """As nats-py's, which ends the loop that reads if who waits for the pong was cancelled."""
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        """As nats-py's, which looks at each character of a name in Python. Of too many headers the
        last are read: the server appends its own to those of a sender."""
        headers: dict[str, str] = {}
        if len(raw) > _LONGEST_HEADERS:
            raw = raw[-_LONGEST_HEADERS:].partition(b"\r\n")[2]
        for line in raw.decode(errors="replace").split("\r\n"):
            name, colon, value = line.partition(":")
            name = name.strip(_AROUND)
            if colon and name.isascii() and not _space(name):
                headers[name] = value.strip(_AROUND)
        return headers

    async def _process_connect_init(self) -> None:
        """Begins every connection, also after a loss, with the files of credentials as they are
        now: they may have been replaced meanwhile."""
        try:
            if self._nkeys_seed is not None:
                self._setup_nkeys_seed_connect()  # nats-py keeps the public key of the first file
            reload = getattr(self.options.get("tls"), "reload", None)
            if reload is not None:
                reload()
            await super()._process_connect_init()
        except (OSError, nats.errors.Error, TimeoutError):
            raise
        except Exception as error:
            # A file that is being replaced may be half written. nats-py repeats only its own
            # errors; another one would end the task that reconnects.
            if self._transport is not None:
                self._transport.close()
            raise nats.errors.Error(f"nats: credentials cannot be used: {error!r}") from error

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        """Ends the client, without writing what is buffered to a connection that is gone: since
        Python 3.12 that raises a TypeError, and the callbacks would not be called."""
        writer = getattr(self._transport, "_io_writer", None)
        if not self.is_connected or (writer is not None and writer.is_closing()):
            self._pending, self._pending_data_size = [], 0
        await super()._close(status, do_cbs)


def _as_utf8(subject: bytes) -> bytes:
    """`subject` with every other byte as `\\xff`, which is no part of any subject of agentd."""
    return subject.decode(errors="backslashreplace").encode()


@contextlib.contextmanager
def mapped(subject: str) -> Generator[None]:
    """Raises nats-py's errors as BusError."""
    try:
        yield
    except nats.errors.Error as error:
        raise failure(subject, error) from error


def failure(subject: str, error: nats.errors.Error) -> BusError:
    """An error of nats-py as one of ours."""
    return BusError(f"{subject}: {error or type(error).__name__}")


def status_of(msg: Msg) -> str:
    """The status of a control frame of the server, `404` for example; "" for a message.

    A message may have a header `Status` as well. But a control frame has no reply subject, no
    payload, and no place in a stream.
    """
    headers = msg.headers or {}
    if msg.reply or msg.data or "Nats-Sequence" in headers:
        return ""
    return headers.get("Status", "")


def guarded(handler: Callable[[Msg], Awaitable[None]]) -> Callable[[Msg], Awaitable[None]]:
    """`handler`, of which a message that it cannot handle costs no later one. Its error is logged
    once for each kind of error, since anyone may send such messages."""
    logged: set[type[Exception]] = set()

    async def handle(msg: Msg) -> None:
        try:
            await handler(msg)
        except Exception as error:
            if type(error) not in logged:
                logged.add(type(error))
                log.exception("a message on %s was not handled: %s", msg.subject[:200], error)

    return handle


def wire_size(data: bytes, headers: Mapping[str, str] | None) -> int:
    """The bytes of a message as the server counts them: payload and encoded headers."""
    if not headers:
        return len(data)
    lines = sum(len(k) + len(v.encode()) + _HEADER_LINE for k, v in headers.items())
    return len(data) + _HEADER_FRAME + lines
