"""What JetStream adds to the connection: messages stored for good, and read back."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentd import crash_points
from agentd.errors import BusError, Conflict, NotStored, TooLarge, Unheard
from agentd.nats.bus import Bus, Msg
from agentd.protocol import server_subjects
from agentd.protocol.subjects import environment_of

REQUEST_TIMEOUT = 5.0
# Seconds for which what was paid for is kept, and stored as soon as the server has room for it.
HOLD = 600.0
_ONE_TRY = 1.0  # seconds that one try of a store waits for its acknowledgement
_PAUSE = 0.2  # seconds before the next one
# An earlier message of the subject; in a batch, also an id that the stream knows.
_THERE_ALREADY = frozenset({10071, 10201})
_NO_SUCH_MESSAGE = frozenset({10037, 10043})
# A delete fails with a code of its own (10057), whyever it fails.
_GONE = ("no message found", "stream store EOF")
# The server takes 50 batches at once for a stream: the 51st is refused, then found incomplete.
_TOO_MANY_BATCHES = frozenset({10210, 10176})
_REFUSED_FOR_GOOD = frozenset({10054, 10077})  # message too large for the server or the stream


class ApiError(BusError):
    """The JetStream API refused a call; `code` is the server's error code."""

    def __init__(self, verb: str, error: Mapping[str, Any]) -> None:
        super().__init__(f"{verb}: {error.get('description', error)}")
        self.code = int(error.get("err_code", 0))


async def api(bus: Bus, verb: str, request: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One call of the JetStream API, e.g. `api("STREAM.INFO.AGENTD_LOG")`; the server's answer.

    Raises:
        ApiError: the server refused; `code` is its error code.
        BusError: no answer.
    """
    body = json.dumps(request).encode() if request is not None else b""
    answer = await bus.request(server_subjects.api(verb), body)
    reply: dict[str, Any] = json.loads(answer.data)
    if "error" in reply:
        raise ApiError(verb, reply["error"])
    return reply


async def store(
    bus: Bus,
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
    record = Record(
        subject=subject, data=data, message_id=message_id, headers=headers or {}, create=create
    )
    return await _patiently(bus, record, lambda: _send_one(bus, record), patience)


@dataclass(frozen=True, kw_only=True)
class Record:
    """A message to be stored. With `create` it must be the first one of its subject."""

    subject: str
    data: bytes
    message_id: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    create: bool = False

    @property
    def wire_id(self) -> str:
        """Its id for the server. A stream knows an id once, and holds every environment."""
        env = environment_of(self.subject)
        return self.message_id if env is None else f"{self.message_id}.{env}"

    def all_headers(self) -> dict[str, str]:
        headers = {**self.headers, "Nats-Msg-Id": self.wire_id}
        if self.create:
            headers["Nats-Expected-Last-Subject-Sequence"] = "0"
        return headers


async def store_all(bus: Bus, records: Sequence[Record], *, patience: float = HOLD) -> None:
    """Stores all of `records` or none (an atomic batch, ADR-50); one alone is a plain publish.

    Retried like `store`, and while no stream takes it, too: somebody deleted the stream, and it
    is being made again. The first record should be the one that is created: it tells a retry
    whether the batch is in already.

    Raises:
        Conflict: something to be created exists already; nothing is stored.
        NotStored, TooLarge, BusError: as `store`; nothing is stored.
    """
    first = records[0]

    async def send() -> int:
        if len(records) == 1:
            return await _send_one(bus, first)
        return await _send_batch(bus, records)

    await _patiently(bus, first, send, patience, unheard=True)


async def _send_one(bus: Bus, record: Record) -> int:
    answer = await bus.request(
        record.subject, record.data, headers=record.all_headers(), timeout=_ONE_TRY
    )
    return _sequence(record.subject, json.loads(answer.data))


async def _send_batch(bus: Bus, records: Sequence[Record]) -> int:
    """Only the last message is acknowledged: the server checks and stores them all at once."""
    batch = secrets.token_hex(16)
    *body, last_one = [
        (each, {**each.all_headers(), "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)})
        for number, each in enumerate(records, 1)
    ]
    for record, headers in body:
        await bus.publish(record.subject, record.data, headers=headers)
    crash_points.here("mid-batch")
    record, headers = last_one
    headers["Nats-Batch-Commit"] = "1"
    answer = await bus.request(record.subject, record.data, headers=headers, timeout=_ONE_TRY)
    return _sequence(records[0].subject, json.loads(answer.data))


async def _patiently(
    bus: Bus,
    record: Record,
    send: Callable[[], Awaitable[int]],
    patience: float,
    *,
    unheard: bool = False,
) -> int:
    """Repeats `send` until it is acknowledged; `record` tells whether an earlier try was stored.

    That no stream takes the subject may pass, too, if `unheard`.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    retried = False
    while True:
        try:
            return await send()
        except Conflict:
            # The server checks for an earlier message before it looks at the id, so the
            # earlier message may be our own, stored by the try that timed out.
            if retried and (ours := await _stored_as(bus, record.subject, record.wire_id)):
                return ours
            raise
        except (NotStored, TooLarge) as error:
            if not (unheard and isinstance(error, Unheard)) or loop.time() >= deadline:
                raise
        except BusError:
            if loop.time() >= deadline:
                raise
        retried = True
        await asyncio.sleep(_PAUSE)
        await bus.until_connected(deadline)


async def _stored_as(bus: Bus, subject: str, wire_id: str) -> int | None:
    """The sequence of the last message on `subject` if it has this id."""
    found = await api(bus, "STREAM.NAMES", {"subject": subject})
    newest = await last(bus, found["streams"][0], subject)
    headers = (newest and newest.headers) or {}
    return int(headers["Nats-Sequence"]) if headers.get("Nats-Msg-Id") == wire_id else None


async def replace(
    bus: Bus, subject: str, data: bytes, *, after: int, headers: Mapping[str, str] | None = None
) -> int:
    """Stores `data` if the newest message of `subject` is number `after` (0: there is none).

    Returns its own number. One try: of one that timed out, only a look at the subject (`newest`)
    tells what became of it.

    Raises:
        Conflict: the newest message is another one.
        NotStored, TooLarge, BusError: as `store`.
    """
    expected = {"Nats-Expected-Last-Subject-Sequence": str(after)}
    answer = await bus.request(
        subject, data, headers={**(headers or {}), **expected}, timeout=_ONE_TRY
    )
    return _sequence(subject, json.loads(answer.data))


async def newest(bus: Bus, stream: str, subject: str) -> tuple[int, bytes]:
    """The number and the data of the newest message on `subject`; 0 and no data without one.

    Unlike `last` it asks the stream's leader, which knows every message that was acknowledged.

    Raises:
        BusError: the server does not answer, or there is no such stream.
    """
    try:
        answer = await api(bus, f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject})
    except ApiError as error:
        if error.code not in _NO_SUCH_MESSAGE:
            raise
        return 0, b""
    message = answer["message"]
    return int(message["seq"]), base64.b64decode(message.get("data", ""))


async def last(bus: Bus, stream: str, subject: str) -> Msg | None:
    """The newest message that `stream` holds on `subject` (no wildcards)."""
    answer = await bus.request(server_subjects.direct_get(stream, subject))
    return None if answer.headers and answer.headers.get("Status") else answer


async def delete(bus: Bus, stream: str, sequence: int) -> None:
    """Removes one message; nothing happens if it is gone.

    Raises:
        BusError: the server does not answer.
    """
    try:
        await api(bus, f"STREAM.MSG.DELETE.{stream}", {"seq": sequence, "no_erase": True})
    except ApiError as error:
        if error.code not in _NO_SUCH_MESSAGE and not str(error).endswith(_GONE):
            raise


async def stored(bus: Bus, stream: str, subject: str, *, start: int = 1) -> AsyncIterator[Msg]:
    """What `stream` holds on `subject` (wildcards allowed) from sequence `start`, oldest first.

    Each message carries `Nats-Subject`, `Nats-Sequence` and `Nats-Time-Stamp` in its headers.
    """
    while True:
        left = 0
        async for msg in _batch(bus, stream, subject, start):
            headers = msg.headers or {}
            start, left = int(headers["Nats-Sequence"]) + 1, int(headers["Nats-Num-Pending"])
            yield msg
        if not left:
            return


async def _batch(bus: Bus, stream: str, subject: str, start: int) -> AsyncIterator[Msg]:
    """One batch of a direct get; a message with a status ends it."""
    arrived: asyncio.Queue[Msg] = asyncio.Queue()
    inbox = bus.new_inbox()
    subscription = await bus.subscribe(inbox, arrived.put)
    body = json.dumps({"batch": 256, "seq": start, "next_by_subj": subject}).encode()
    try:
        await bus.publish(server_subjects.direct_get(stream), body, reply=inbox)
        while True:
            msg = await asyncio.wait_for(arrived.get(), REQUEST_TIMEOUT)
            if msg.headers and msg.headers.get("Status"):
                return
            yield msg
    except TimeoutError:
        raise BusError(f"{stream}: no answer within {REQUEST_TIMEOUT:g} s") from None
    finally:
        await subscription.close()


def _sequence(subject: str, ack: Mapping[str, Any]) -> int:
    """The sequence of a publish acknowledgement, or the error that it stands for."""
    error = ack.get("error")
    if not error:
        return int(ack["seq"])
    code = error.get("err_code")
    if code in _THERE_ALREADY:
        raise Conflict(f"{subject}: there is one already")
    passing = error.get("code", 0) >= 500 and code not in _REFUSED_FOR_GOOD
    if passing or code in _TOO_MANY_BATCHES:
        raise BusError(f"{subject}: {error.get('description')}")
    raise NotStored(f"{subject}: {error.get('description')}")
