"""JetStream over the bus: messages are stored with retries, read back and deleted."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from agentd import crash_points
from agentd.errors import BusError, Conflict, Forbidden, NotStored, TooLarge, Unheard
from agentd.nats.bus import Bus, Msg, status_of
from agentd.protocol import server_subjects
from agentd.protocol.subjects import environment_of

REQUEST_TIMEOUT = 5.0
# Seconds for which a result is held when the server cannot store it, because its disk is full for
# example: it was paid for.
HOLD = 600.0
# Seconds that one publish waits for its acknowledgement. Short, because a server that is deleting
# the stream never answers.
_ONE_TRY = 1.0
_PAUSE = 0.2  # seconds before the next try
_BATCH = 4 * 1024**2  # bytes that are read at once; one message may have more

# The server's error codes (nats-server, server/errors.json).
# The subject has an earlier message; in a batch, also: the stream knows one of the ids.
_EXISTS = frozenset({10071, 10201})
_NO_SUCH_MESSAGE = frozenset({10037, 10043})
# A delete fails with 10057 whatever the reason is. Only the text tells that there is no message.
_NOTHING_TO_DELETE = ("no message found", "stream store EOF")
# The server accepts 50 open batches a stream. It refuses the first message of the 51st (10210),
# then the rest as incomplete (10176). The codes say 400, but a later try succeeds.
_TOO_MANY_BATCHES = frozenset({10210, 10176})
# The message is too large for the server or the stream. The codes say 500, but no try succeeds.
_NEVER_STORED = frozenset({10054, 10077})


class ApiError(BusError):
    """The server refused a call of the JetStream API; `code` is its error code."""

    def __init__(self, verb: str, error: Mapping[str, Any]) -> None:
        super().__init__(f"{verb}: {error.get('description', error)}")
        self.code = int(error.get("err_code", 0))


async def api(bus: Bus, verb: str, request: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Calls the JetStream API, `STREAM.INFO.AGENTD_LOG` for example; returns the server's answer.

    Raises:
        ApiError: the server refused; `code` is its error code.
        BusError: the server did not answer.
    """
    body = json.dumps(request).encode() if request is not None else b""
    reply = _object(await bus.request(server_subjects.api(verb), body, accept=_is_object))
    if "error" in reply:
        raise ApiError(verb, reply["error"])
    return reply


async def store(
    bus: Bus,
    subject: str,
    data: bytes,
    *,
    message_id: str,
    after: int | None = None,
    headers: Mapping[str, str] | None = None,
    patience: float = 30.0,
) -> int:
    """Stores one message; returns its sequence in the stream.

    It is retried for `patience` seconds. A publish that timed out may have been stored, so each
    try has the same `message_id`, and the server ignores an id that it knows. `after` as in Record.

    Raises:
        Conflict: the newest message of the subject is not that of `after`.
        NotStored: no stream stores the subject, or the server refused the message.
        Forbidden: the permissions of the NATS user do not allow it.
        TooLarge: before anything is sent.
        BusError: no acknowledgement within `patience`. The message may have been stored.
    """
    record = Record(
        subject=subject, data=data, message_id=message_id, headers=headers or {}, after=after
    )
    return await _patiently(bus, record, lambda: _send_one(bus, record), patience)


@dataclass(frozen=True, kw_only=True)
class Record:
    """A message to store. With `after` the newest one of its subject must have that sequence; 0
    says that there must be none.

    Of a batch, only the first record has a `message_id`: the batch is stored once or not at all,
    and an id that somebody else has used would prevent it.
    """

    subject: str
    data: bytes
    message_id: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    after: int | None = None

    @property
    def wire_id(self) -> str:
        """The id for the server. It includes the environment, because ids are unique in a stream,
        and LOG holds all environments."""
        env = environment_of(self.subject)
        return self.message_id if env is None else f"{self.message_id}.{env}"

    def all_headers(self) -> dict[str, str]:
        headers = dict(self.headers)
        if self.message_id:
            headers["Nats-Msg-Id"] = self.wire_id
        if self.after is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(self.after)
        return headers


async def store_all(bus: Bus, records: Sequence[Record], *, patience: float = HOLD) -> None:
    """Stores all of `records` or none (an atomic batch, ADR-50); a single one is a plain publish.

    It is retried like `store`, and also while no stream stores the subject: if somebody deleted
    the stream, housekeeping makes it again. The first record should be one with `after`: after a
    try without an answer, it tells whether the batch has been stored.

    Raises:
        Conflict: the newest message of a subject is another one; nothing is stored.
        NotStored, TooLarge: as `store`; nothing is stored.
        BusError: no acknowledgement within `patience`. The batch may have been stored.
    """
    await _patiently(bus, records[0], lambda: _send_all(bus, records), patience, hold=True)


async def _send_one(bus: Bus, record: Record) -> int:
    return await _stored(bus, record.subject, record.data, record.all_headers())


async def _send_all(bus: Bus, records: Sequence[Record]) -> int:
    """Sends a batch. With its last message the server checks all of them and stores them.

    A new id for each try: what an interrupted try has sent is dropped by the server after a while.
    """
    if len(records) == 1:
        return await _send_one(bus, records[0])
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
    return await _stored(bus, record.subject, record.data, headers)


async def _patiently(
    bus: Bus,
    record: Record,
    send: Callable[[], Awaitable[int]],
    patience: float,
    *,
    hold: bool = False,
) -> int:
    """Repeats `send` until it is acknowledged; `record` tells whether an earlier try was stored.

    With `hold`, what is sent was paid for. It is also repeated while no stream stores the subject,
    and until an administrator allows to store it.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    retried = False
    while True:
        try:
            return await send()
        except Conflict:
            # The server looks for an earlier message of the subject before it looks at the id. So
            # the earlier message may be our own, stored by a try without an answer.
            if retried and (ours := await _stored_as(bus, record.subject, record.wire_id)):
                return ours
            raise
        except BusError as error:
            refused = isinstance(error, NotStored | TooLarge | Forbidden)
            held = hold and isinstance(error, Unheard | Forbidden)
            if (refused and not held) or loop.time() >= deadline:
                raise
        retried = True
        await asyncio.sleep(_PAUSE)
        await bus.until_connected(deadline)


async def _stored_as(bus: Bus, subject: str, wire_id: str) -> int | None:
    """The sequence of the last message on `subject`, if it has this id."""
    streams = (await api(bus, "STREAM.NAMES", {"subject": subject}))["streams"]
    found = await last(bus, streams[0], subject) if streams else None
    headers = (found and found.headers) or {}
    return int(headers["Nats-Sequence"]) if headers.get("Nats-Msg-Id") == wire_id else None


async def replace(
    bus: Bus, subject: str, data: bytes, *, after: int, headers: Mapping[str, str] | None = None
) -> int:
    """Stores `data` if the newest message of `subject` has the sequence `after` (0: no message).

    Returns the new sequence. It tries once: after a try without an answer, read `newest` to learn
    whether the message was stored.

    Raises:
        Conflict: the newest message is another one.
        NotStored, TooLarge, BusError: as `store`.
    """
    expected = {"Nats-Expected-Last-Subject-Sequence": str(after)}
    return await _stored(bus, subject, data, {**(headers or {}), **expected})


async def newest(bus: Bus, stream: str, subject: str) -> tuple[int, bytes]:
    """The sequence and the data of the newest message on `subject`; 0 and no data without one.

    It asks the stream's leader, which knows every message that was acknowledged. `last` may ask
    another server of the cluster, which may not know the newest message yet.

    Raises:
        BusError: the server does not answer, or the stream does not exist.
    """
    return await _get(bus, stream, {"last_by_subj": subject})


async def next_after(bus: Bus, stream: str, subject: str, sequence: int) -> tuple[int, bytes]:
    """As `newest`, of the first message on `subject` after `sequence`."""
    return await _get(bus, stream, {"next_by_subj": subject, "seq": sequence + 1})


async def _get(bus: Bus, stream: str, wanted: Mapping[str, Any]) -> tuple[int, bytes]:
    try:
        answer = await api(bus, f"STREAM.MSG.GET.{stream}", wanted)
    except ApiError as error:
        if error.code not in _NO_SUCH_MESSAGE:
            raise
        return 0, b""
    message = answer["message"]
    return int(message["seq"]), base64.b64decode(message.get("data", ""))


async def last(bus: Bus, stream: str, subject: str) -> Msg | None:
    """The newest message of `stream` on `subject` (no wildcards); see `newest` about clusters."""
    answer = await bus.request(server_subjects.direct_get(stream, subject))
    return None if status_of(answer) else answer


async def delete(bus: Bus, stream: str, sequence: int, *, overwrite: bool = False) -> None:
    """Deletes one message, which may have been deleted before.

    Raises:
        BusError: the server does not answer.
    """
    try:
        # Without `no_erase` the server also overwrites the message on the disk.
        await api(bus, f"STREAM.MSG.DELETE.{stream}", {"seq": sequence, "no_erase": not overwrite})
    except ApiError as error:
        if error.code not in _NO_SUCH_MESSAGE and not str(error).endswith(_NOTHING_TO_DELETE):
            raise


async def stored(bus: Bus, stream: str, subject: str, *, start: int = 1) -> AsyncIterator[Msg]:
    """The messages of `stream` on `subject` (wildcards allowed) from sequence `start`, oldest
    first.

    Their headers have `Nats-Subject`, `Nats-Sequence` and `Nats-Time-Stamp`. A stream that does
    not exist has no messages.

    Raises:
        BusError: the server does not answer.
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
    """Up to 256 messages, fewer if they are large, read with one direct get (ADR-31); a message
    with a status ends it. It needs no consumer, which takes milliseconds to create.
    """
    arrived: asyncio.Queue[Msg | BusError] = asyncio.Queue()
    inbox, request = bus.new_inbox(), server_subjects.direct_get(stream)
    subscription = await bus.subscribe(inbox, arrived.put)
    wanted = {"batch": 256, "max_bytes": _BATCH, "seq": start, "next_by_subj": subject}
    try:
        with bus.failing(request, arrived.put_nowait):
            await bus.publish(request, json.dumps(wanted).encode(), reply=inbox)
            while True:
                # Not `wait_for`: Python 3.11 loses a cancellation that comes with a message.
                async with asyncio.timeout(REQUEST_TIMEOUT):
                    msg = await arrived.get()
                if isinstance(msg, BusError):
                    raise msg
                if status_of(msg):
                    return
                yield msg
    except TimeoutError:
        raise BusError(f"{stream}: no answer within {REQUEST_TIMEOUT:g} s") from None
    finally:
        await subscription.close()


async def _stored(bus: Bus, subject: str, data: bytes, headers: Mapping[str, str]) -> int:
    """Publishes once; returns the sequence in the server's acknowledgement, or raises its error."""
    accept = _is_acknowledgement
    answer = await bus.request(subject, data, headers=headers, timeout=_ONE_TRY, accept=accept)
    match _object(answer):
        case {"error": {"code": int(status), **error}}:
            code = error.get("err_code")
        case {"seq": int(sequence)}:
            return sequence
        case _:
            raise BusError(f"{subject}: {answer.data[:100]!r} is no acknowledgement")
    if code in _EXISTS:
        raise Conflict(f"{subject}: there is a message already")
    may_pass = status >= 500 and code not in _NEVER_STORED
    if may_pass or code in _TOO_MANY_BATCHES:
        raise BusError(f"{subject}: {error.get('description')}")
    raise NotStored(f"{subject}: {error.get('description')}")


def _object(answer: Msg) -> dict[str, Any]:
    """The JSON object in an answer; an empty one if it holds none."""
    try:
        value = json.loads(answer.data)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _is_object(answer: Msg) -> bool:
    return answer.data.startswith(b"{")


def _is_acknowledgement(answer: Msg) -> bool:
    """Whether a stream gives this answer to a publish: others may subscribe to the subject too.
    Its first field is enough to tell, and is checked for each task."""
    return answer.data.startswith((b'{"stream":', b'{"error":{', b'{"error": {'))
