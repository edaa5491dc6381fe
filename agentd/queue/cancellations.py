"""Cancelled conversations and tasks: nothing of them runs until the cancellation is undone.

A cancellation is a key in a bucket. Its publish reaches every connected process immediately, as any
message does; a process that was disconnected reads the bucket when it is back.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection, Container
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from agentd.errors import DecodeError, Undeliverable
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.records import Room, skipped, skipping
from agentd.nats.streams import STOPS
from agentd.protocol.actor import Actor, name_in, named_by
from agentd.protocol.message import AgentIdentity, AgentMessage, Context, encode, new
from agentd.protocol.server_subjects import bucket
from agentd.protocol.subjects import Subjects, digest

MOST = 100_000  # cancellations of an environment that are obeyed: the newest ones

_is_key = re.compile("[0-9a-f]{32}").fullmatch  # what `digest` returns


@dataclass(frozen=True)
class Scope:
    """What is cancelled: a conversation, or a task with all the work that followed from it."""

    kind: Literal["conversation", "task"]
    id: str

    @property
    def key(self) -> str:
        """The key of the cancellation in the bucket."""
        return digest(self.id if self.kind == "conversation" else f"task\n{self.id}")

    def __str__(self) -> str:
        return f"the {self.kind} {self.id[:100]!r}"

    def holds(self, message: AgentMessage) -> bool:
        """Whether the message belongs to this scope. All work that follows from a task has that
        task's id, or its `correlationId`, as its own `correlationId`."""
        if self.kind == "conversation":
            return message.context.conversation_id == self.id
        return self.id in (message.id, message.correlation_id)


def scopes_of(message: AgentMessage) -> tuple[Scope, ...]:
    """Every scope whose cancellation ends the run of this message."""
    scopes = [Scope("conversation", message.context.conversation_id), Scope("task", message.id)]
    if message.correlation_id:
        scopes.append(Scope("task", message.correlation_id))
    return tuple(scopes)


class Cancellations:
    """The cancellations of an environment, as one process knows them."""

    def __init__(self, bus: Bus, env: str) -> None:
        self._bus = bus
        self._pattern = bucket(STOPS, env, "*")
        self._cancelled: dict[str, bool] = {}  # the keys; a dict keeps their order
        self._heard: dict[str, bool] = {}
        self._running: set[_CancellableRun] = set()

    async def open(self) -> None:
        """Reads the cancellations there are, and follows changes from then on.

        Raises:
            BusError: the bucket does not answer.
        """
        await self._bus.subscribe(self._pattern, self._on_change)
        self._bus.on_reconnect("cancellations", self._read)
        await self._read()

    def obeyed(self, message: AgentMessage) -> AbstractContextManager[None]:
        """Runs the block, unless the message is cancelled; a cancellation meanwhile ends the block.

        Raises:
            Undeliverable: the message was cancelled, before or meanwhile (`cancelled`).
        """
        return _CancellableRun(message, self._cancelled, self._running)

    async def _read(self) -> None:
        # Changes that arrive while the bucket is read are newer than what it answers.
        self._heard.clear()
        keys: dict[str, bool] = {}
        async for msg in jetstream.stored(self._bus, STOPS, self._pattern):
            if msg.data:
                _put_newest(keys, (msg.headers or {})["Nats-Subject"].rpartition(".")[2], True)
        self._cancelled.clear()
        self._cancelled |= keys
        for key, cancelled in self._heard.items():
            self._take(key, cancelled)
        self._end(keys)

    async def _on_change(self, msg: Msg) -> None:
        key = msg.subject.rpartition(".")[2]
        _put_newest(self._heard, key, bool(msg.data))
        self._take(key, bool(msg.data))
        if msg.data:
            self._end({key})

    def _take(self, key: str, cancelled: bool) -> None:
        if cancelled:
            _put_newest(self._cancelled, key, True)
        else:
            self._cancelled.pop(key, None)

    def _end(self, keys: Container[str]) -> None:
        for run in self._running:
            run.end(keys)


def _put_newest(keys: dict[str, bool], key: str, value: bool) -> None:
    """Puts a key at the end of `keys`, if it can be one. Of too many, the oldest is left out: any
    client may write to the bucket."""
    if not _is_key(key):
        return
    keys.pop(key, None)
    keys[key] = value
    if len(keys) > MOST:
        oldest = next(iter(keys))
        del keys[oldest]
        skipped(STOPS, oldest, DecodeError(f"only the newest {MOST:,} cancellations count"))


class _CancellableRun(AbstractContextManager[None]):
    """A block that one asyncio task runs for a message. `cancelled` has the keys of all that is
    cancelled, `running` all blocks.

    Cancellations are rare: the keys of a message are only worked out when there is one.
    """

    def __init__(
        self, message: AgentMessage, cancelled: Collection[str], running: set[_CancellableRun]
    ) -> None:
        self._message = message
        self._cancelled = cancelled
        self._running = running
        self._ended_by: Scope | None = None

    def __enter__(self) -> None:
        if self._cancelled and (scope := self._scope_in(self._cancelled)):
            raise refusal(scope)
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancels_before = task.cancelling()
        self._running.add(self)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._running.discard(self)
        if self._ended_by is None or not isinstance(error, asyncio.CancelledError):
            return
        # Only we have cancelled the asyncio task: `asyncio.timeout` decides so, too.
        if self._task.uncancel() <= self._cancels_before:
            raise refusal(self._ended_by) from None

    def end(self, keys: Container[str]) -> None:
        """Cancels the asyncio task, once, if one of these keys is a scope of the message."""
        if self._ended_by is None and (scope := self._scope_in(keys)):
            self._ended_by = scope
            self._task.cancel()

    def _scope_in(self, keys: Container[str]) -> Scope | None:
        return next((scope for scope in scopes_of(self._message) if scope.key in keys), None)


class Cancelled(NamedTuple):
    """What is cancelled, since when (in seconds since the epoch), and by whom ("" if not known)."""

    scope: Scope
    since: float
    by: str


async def listed(bus: Bus, subjects: Subjects) -> list[Cancelled]:
    """What is cancelled; the oldest first.

    Raises:
        BusError: the bucket does not answer.
    """
    found: list[Cancelled] = []
    room = Room(records=MOST)
    async for msg in jetstream.stored(bus, STOPS, bucket(STOPS, subjects.env, "*")):
        with skipping(STOPS, msg):
            room.take(len(msg.data))
            if scope := _scope(msg.data):
                stored_at = (msg.headers or {})["Nats-Time-Stamp"]
                since = datetime.fromisoformat(stored_at).timestamp()
                found.append(Cancelled(scope, since, name_in(json.loads(msg.data))))
    return found


def _scope(value: bytes) -> Scope | None:
    """The scope in a value of the bucket, where any client of NATS might write."""
    try:
        match json.loads(value or b"null"):
            case {"conversation": str(name)}:
                return Scope("conversation", name)
            case {"task": str(name)}:
                return Scope("task", name)
            case _:
                return None
    except (ValueError, RecursionError):
        return None


async def cancel(
    bus: Bus,
    subjects: Subjects,
    scope: Scope,
    *,
    kept: int | None = None,
    by: Actor | None = None,
) -> None:
    """Cancels a scope: what runs is ended, what waits or comes later is refused.

    The cancellation is forgotten after `kept` seconds; with None it stays.

    Raises:
        BusError: it could not be stored.
    """
    value = json.dumps({scope.kind: scope.id, **named_by(by)}).encode()
    headers = {} if kept is None else {"Nats-TTL": f"{kept}s"}
    await _put(bus, subjects, scope, "stopped", value, headers, by)


async def undo(bus: Bus, subjects: Subjects, scope: Scope, *, by: Actor | None = None) -> None:
    """Undoes a cancellation. Tasks that it has ended stay dead letters.

    Raises:
        BusError: it could not be stored.
    """
    await _put(bus, subjects, scope, "resumed", b"", {"KV-Operation": "DEL"}, by)


async def _put(
    bus: Bus,
    subjects: Subjects,
    scope: Scope,
    what: str,
    value: bytes,
    headers: dict[str, str],
    by: Actor | None,
) -> None:
    conversation = scope.id if scope.kind == "conversation" else "system"
    event = new(
        "event",
        {"event": f"{scope.kind}_{what}", scope.kind: scope.id, **named_by(by)},
        source=AgentIdentity(id="agentd-stop", type="runtime"),
        context=Context(conversation_id=conversation),
    )
    subject = bucket(STOPS, subjects.env, scope.key)
    await jetstream.store(bus, subject, value, message_id=event.id, headers=headers)
    fact = subjects.event(scope.kind, what)
    await jetstream.store(bus, fact, encode(event), message_id=event.id)


def refusal(scope: Scope) -> Undeliverable:
    """The error with which everything that belongs to the scope ends."""
    return Undeliverable(f"{scope} was cancelled", code="cancelled")
