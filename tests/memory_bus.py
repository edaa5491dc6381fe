"""The bus in memory: messages, and the part of JetStream that a task meets on its way.

It passes the contract of the real one (`integration/test_bus_contract.py`). LOG copies what is due
from SCHEDULES. Not modelled are consumers, the sourcing of WORK from LOG, doorbells, the times of
schedules and everything that expires. A call of the JetStream API that is not modelled raises
NotImplementedError.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import inspect
import itertools
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from agentd.background import Background
from agentd.errors import BusError, TooLarge, Unheard
from agentd.nats.bus import Msg, status_of, wire_size
from agentd.nats.streams import LOG, SCHEDULES, configurations
from agentd.protocol.server_subjects import API
from agentd.protocol.stream_subjects import not_due
from agentd.protocol.subjects import matches
from agentd.settings import Settings

log = logging.getLogger(__name__)

Handler = Callable[[Msg], Awaitable[None]]
Listener = Callable[[Msg], None]

_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_BATCH = "Nats-Batch-Id"


def message(
    data: bytes, headers: Mapping[str, str] | None = None, subject: str = "", reply: str = ""
) -> Msg:
    """A message as nats-py hands it over."""
    return Msg(
        _client=cast("Any", None),
        subject=subject,
        reply=reply,
        data=data,
        headers=dict(headers) if headers else None,
    )


@dataclass(eq=False)
class MemorySubscription:
    """Calls its handler for one message at a time, in a task, as nats-py does."""

    subject: str
    handler: Handler
    queue: str
    bus: MemoryBus | None = field(repr=False)
    _waiting: deque[Msg] = field(default_factory=deque[Msg], repr=False)
    _worker: asyncio.Task[None] | None = field(default=None, repr=False)

    def put(self, msg: Msg) -> None:
        self._waiting.append(msg)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())

    async def close(self) -> None:
        if self.bus is not None:
            self.bus.subscriptions.remove(self)
            self.bus = None
        await asyncio.sleep(0)

    async def _work(self) -> None:
        while self._waiting:
            try:
                await self.handler(self._waiting.popleft())
            except Exception:  # nats-py reports it to `error_cb`, and continues
                log.exception("a handler failed")


class MemoryBus:
    """The bus's port, with a server behind it. Every call suspends once, and never fails by itself.

    `published` is everything that was sent, in order.
    """

    def __init__(self, *, max_message: int = 1_000_000) -> None:
        self.max_message = max_message
        self.connected = True
        self.where = "memory"
        self.published: list[tuple[str, bytes]] = []
        self.subscriptions: list[MemorySubscription] = []
        self.streams = {
            config["name"]: MemoryStream(config) for config in configurations(Settings())
        }
        self._requests: dict[str, tuple[asyncio.Future[Msg], Callable[[Msg], bool]]] = {}
        self.background = Background()
        self._inboxes = itertools.count(1)

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        reply: str = "",
    ) -> None:
        size = wire_size(data, headers)
        if size > self.max_message:
            raise TooLarge(subject, size=size, limit=self.max_message)
        self.published.append((subject, data))
        if not self._take(message(data, headers, subject, reply)) and reply:
            self._deliver(message(b"", {"Status": "503"}, reply))
        await asyncio.sleep(0)

    async def request(
        self,
        subject: str,
        data: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 5.0,
        accept: Callable[[Msg], bool] = bool,
    ) -> Msg:
        inbox = self.new_inbox()
        future: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._requests[inbox] = (future, accept)
        try:
            await self.publish(subject, data, headers=headers, reply=inbox)
            await asyncio.wait([future], timeout=timeout)
        finally:
            del self._requests[inbox]
        if not future.done():
            raise BusError(f"{subject}: no answer within {timeout:g} s")
        answer = future.result()
        if status_of(answer) == "503":
            raise Unheard(f"{subject}: no subscription and no stream receives this subject")
        return answer

    async def subscribe(
        self, subject: str, handler: Handler, queue: str = ""
    ) -> MemorySubscription:
        if not inspect.iscoroutinefunction(handler):
            raise BusError(f"{subject}: nats: must use coroutine for subscriptions")
        subscription = MemorySubscription(subject, handler, queue, self)
        self.subscriptions.append(subscription)
        await asyncio.sleep(0)
        return subscription

    async def listen(self, subject: str, listener: Listener) -> MemorySubscription:
        async def handle(msg: Msg) -> None:
            listener(msg)

        return await self.subscribe(subject, handle)

    @contextlib.contextmanager
    def failing(self, subject: str, fail: Callable[[BusError], None]) -> Generator[None]:
        yield

    def new_inbox(self) -> str:
        return f"_INBOX.{next(self._inboxes)}"

    def on_reconnect(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """The connection is never lost."""

    async def until_connected(self, deadline: float | None = None) -> None:
        await asyncio.sleep(0)

    async def fence(self) -> None:
        await asyncio.sleep(0)

    # --- the server -----------------------------------------------------------------------------

    def _take(self, msg: Msg) -> bool:
        """Whether a stream, the API or a subscription takes a message."""
        if msg.subject.startswith(f"{API}."):
            return self._call(msg)
        taken = False
        for stream in self.streams.values():
            if stream.takes(msg.subject):
                # The acknowledgement is the first answer, before those of subscribers.
                ack = stream.publish(msg)
                self._acknowledge(msg, ack)
                if msg.subject.startswith("due.") and ack and "error" not in ack:
                    headers = {**(msg.headers or {}), "Nats-Stream-Source": SCHEDULES}
                    self.streams[LOG].copy(message(msg.data, headers, not_due(msg.subject)))
                taken = True
        return self._deliver(msg) or taken

    def _acknowledge(self, msg: Msg, ack: Mapping[str, Any] | None) -> None:
        if msg.reply:
            self._deliver(message(json.dumps(ack).encode() if ack else b"", None, msg.reply))

    def _deliver(self, msg: Msg) -> bool:
        request = self._requests.get(msg.subject)
        if request is not None:
            future, accept = request
            if not future.done() and (status_of(msg) or accept(msg)):
                future.set_result(msg)
            return True
        receivers = [each for each in self.subscriptions if matches(each.subject, msg.subject)]
        groups: set[str] = set()
        for each in receivers:
            if not each.queue or each.queue not in groups:
                groups.add(each.queue)
                each.put(msg)
        return bool(receivers)

    def _call(self, msg: Msg) -> bool:
        """A call of the JetStream API. A direct get of a stream that is not there has no taker."""
        match msg.subject.removeprefix(f"{API}.").split("."):
            case ["DIRECT", "GET", name, *rest]:
                stream = self.streams.get(name)
                for answer in stream.direct_get(".".join(rest), msg.data) if stream else ():
                    self._deliver(message(answer.data, answer.headers, msg.reply))
                return stream is not None
            case verb:
                answer = self._answer(verb, json.loads(msg.data or b"{}"))
                self._deliver(message(json.dumps(answer).encode(), None, msg.reply))
                return True

    def _answer(self, verb: list[str], request: Mapping[str, Any]) -> dict[str, Any]:
        match verb:
            case ["STREAM", "NAMES"]:
                subject = request.get("subject")
                names = [
                    name
                    for name, stream in self.streams.items()
                    if subject is None or stream.takes(subject)
                ]
                return {"total": len(names), "streams": names[request.get("offset", 0) :] or None}
            case ["STREAM", *call, name]:
                stream = self.streams.get(name)
                return stream.call(call, request) if stream else _error(10059, "stream not found")
            case _:
                raise NotImplementedError(".".join(verb))


@dataclass(frozen=True)
class StoredMessage:
    """What a stream holds."""

    sequence: int
    subject: str
    data: bytes
    headers: Mapping[str, str]
    time: str


class MemoryStream:
    """One stream: the newest number of each subject decides, and an id is stored once."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.messages: dict[int, StoredMessage] = {}
        self._last_sequence = 0
        self._ids: dict[str, int] = {}
        self._batches: dict[str, list[Msg]] = {}

    def takes(self, subject: str) -> bool:
        return any(matches(pattern, subject) for pattern in self.config.get("subjects", ()))

    def on(self, pattern: str, start: int = 1) -> list[StoredMessage]:
        return [
            each
            for each in self.messages.values()
            if each.sequence >= start and matches(pattern, each.subject)
        ]

    def last(self, subject: str) -> StoredMessage | None:
        return next(reversed(self.on(subject)), None)

    def publish(self, msg: Msg) -> dict[str, Any] | None:
        """The acknowledgement; None is the empty one of a batch that is not complete."""
        headers = msg.headers or {}
        if _BATCH in headers:
            return self._batch(msg, headers)
        if error := self._conflict(msg):
            return error
        # In this order: a message that is created twice is a conflict, whatever its id.
        known = self._ids.get(headers.get("Nats-Msg-Id", ""))
        if known is not None:
            return {"stream": self.config["name"], "seq": known, "duplicate": True}
        return {"stream": self.config["name"], "seq": self._store(msg)}

    def copy(self, msg: Msg) -> None:
        """Stores what the server copies from another stream, whatever it expects."""
        self._store(msg)

    def _batch(self, msg: Msg, headers: Mapping[str, str]) -> dict[str, Any] | None:
        if not self.config.get("allow_atomic"):
            return _error(10174, "atomic publish is disabled")
        batch, number = headers[_BATCH], int(headers["Nats-Batch-Sequence"])
        if number == 1:
            self._batches[batch] = []
        if batch not in self._batches or number != len(self._batches[batch]) + 1:
            self._batches.pop(batch, None)
            return _error(10176, "atomic publish batch is incomplete")
        self._batches[batch].append(msg)
        if "Nats-Batch-Commit" not in headers:
            return None
        messages = self._batches.pop(batch)
        headers_of = [each.headers or {} for each in messages]
        ids = [each["Nats-Msg-Id"] for each in headers_of if "Nats-Msg-Id" in each]
        if len(set(ids)) < len(ids) or self._ids.keys() & set(ids):
            return _error(10201, "atomic publish batch contains duplicate message id")
        for each in messages:
            if error := self._conflict(each):
                return error
        *_, last = [self._store(each) for each in messages]
        return {"stream": self.config["name"], "seq": last, "batch": batch, "count": len(messages)}

    def _conflict(self, msg: Msg) -> dict[str, Any] | None:
        headers = msg.headers or {}
        if _EXPECTED not in headers:
            return None
        last = self.last(headers.get(f"{_EXPECTED}-Subject", msg.subject))
        newest = last.sequence if last else 0
        if int(headers[_EXPECTED]) == newest:
            return None
        return _error(10071, f"wrong last sequence: {newest}")

    def _store(self, msg: Msg) -> int:
        self._last_sequence += 1
        headers = msg.headers or {}
        if "Nats-Msg-Id" in headers:
            self._ids[headers["Nats-Msg-Id"]] = self._last_sequence
        if self.config.get("max_msgs_per_subject") == 1 or headers.get("Nats-Rollup") == "sub":
            self._remove(self.on(msg.subject))
        now = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="microseconds")
        self.messages[self._last_sequence] = StoredMessage(
            self._last_sequence, msg.subject, msg.data, headers, now.replace("+00:00", "Z")
        )
        return self._last_sequence

    def _remove(self, messages: list[StoredMessage]) -> None:
        for each in messages:
            del self.messages[each.sequence]

    # --- read back ------------------------------------------------------------------------------

    def direct_get(self, subject: str, request: bytes) -> Iterator[Msg]:
        """The last message of a subject, or the batch that the request asks for."""
        wanted: dict[str, Any] = {"last_by_subj": subject} if subject else json.loads(request)
        if "last_by_subj" in wanted:
            last = self.last(wanted["last_by_subj"])
            yield self._as_message(last) if last else _status("404")
            return
        found = self.on(wanted["next_by_subj"], wanted["seq"])
        for number, each in enumerate(found[: wanted["batch"]], 1):
            yield self._as_message(each, {"Nats-Num-Pending": str(len(found) - number)})
        yield _status("204" if found else "404")

    def call(self, verb: list[str], request: Mapping[str, Any]) -> dict[str, Any]:
        match verb:
            case ["INFO"]:
                return {"config": self.config, "state": self._state(request)}
            case ["MSG", "GET"]:
                if "last_by_subj" in request:
                    found = self.last(request["last_by_subj"])
                elif "next_by_subj" in request:
                    found = next(iter(self.on(request["next_by_subj"], request["seq"])), None)
                else:
                    found = self.messages.get(request["seq"])
                return {"message": _encoded(found)} if found else _error(10037, _NOT_FOUND, 404)
            case ["MSG", "DELETE"]:
                if request["seq"] not in self.messages:
                    return _error(10057, _NOT_FOUND, 500)
                del self.messages[request["seq"]]
                return {"success": True}
            case ["PURGE"]:
                purged = self.on(request.get("filter", ">"))
                self._remove(purged)
                return {"success": True, "purged": len(purged)}
            case _:
                raise NotImplementedError(".".join(["STREAM", *verb]))

    def _state(self, request: Mapping[str, Any]) -> dict[str, Any]:
        state: dict[str, Any] = {
            "messages": len(self.messages),
            "last_seq": self._last_sequence,
        }
        if "subjects_filter" in request and (found := self.on(request["subjects_filter"])):
            subjects = [each.subject for each in found]
            state["subjects"] = {subject: subjects.count(subject) for subject in subjects}
        return state

    def _as_message(self, stored: StoredMessage, more: Mapping[str, str] | None = None) -> Msg:
        about = {
            "Nats-Stream": str(self.config["name"]),
            "Nats-Subject": stored.subject,
            "Nats-Sequence": str(stored.sequence),
            "Nats-Time-Stamp": stored.time,
        }
        return message(stored.data, {**stored.headers, **about, **(more or {})})


_NOT_FOUND = "no message found"


def _error(number: int, text: str, code: int = 400) -> dict[str, Any]:
    return {"error": {"code": code, "err_code": number, "description": text}}


def _status(code: str) -> Msg:
    return message(b"", {"Status": code})


def _encoded(stored: StoredMessage) -> dict[str, Any]:
    """A stored message as the JetStream API has it."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in stored.headers.items())
    return {
        "subject": stored.subject,
        "seq": stored.sequence,
        "hdrs": base64.b64encode(f"NATS/1.0\r\n{lines}\r\n".encode()).decode(),
        "data": base64.b64encode(stored.data).decode(),
        "time": stored.time,
    }
