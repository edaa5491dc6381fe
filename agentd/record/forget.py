"""Forgets a conversation: erases its contents wherever agentd has them.

What stays are tombstones: `event.conversation.forgotten` with the sequences of the messages that
were erased, who erased them, and the digest of the conversation's id. The audit keeps the digests
of the messages, so it still verifies. A tombstone is stored before its messages are erased, so that
nothing is gone that was not announced if the process ends in between; the next call goes on. It is
stored again afterwards: an index that has read the first one found its messages still there.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from agentd.errors import BusError, UsageError
from agentd.nats import jetstream, objects
from agentd.nats.bus import Bus, Msg
from agentd.nats.jetstream import ApiError
from agentd.nats.streams import CACHE, CHUNKS, LOG, SCHEDULES, WORK
from agentd.protocol import erasure
from agentd.protocol.message import AgentIdentity, Context, encode, new, short_id
from agentd.protocol.server_subjects import bucket
from agentd.protocol.stream_subjects import scheduled
from agentd.protocol.subjects import Subject, Subjects, digest
from agentd.record import queries
from agentd.record.index.index import Index
from agentd.record.tombstones import FORGOTTEN, content_of, message_at, sequence_of
from agentd.record.values import mapping, object_in

_T = TypeVar("_T")

_MOST = 5_000  # messages of one tombstone: it must fit into a message itself
_AT_ONCE = 32  # messages that are read or erased at the same time
_CHUNKS_KEPT = 900.0  # seconds: longer than CHUNKS keeps the pieces of an answer
_SHOWN = 5  # ids in an error
_NO_SUCH_STREAM = 10059

_digests = re.compile(rb"sha256:[0-9a-f]{64}").findall


@dataclass
class Forgotten:
    """What was erased: messages of the log, and copies of tasks in other streams. `shared` are the
    objects that stay because other messages refer to them."""

    messages: int = 0
    copies: int = 0
    objects: int = 0
    shared: int = 0


async def forget(
    bus: Bus,
    subjects: Subjects,
    index: Index,
    conversation: str,
    *,
    by: Mapping[str, Any],
    force: bool = False,
) -> Forgotten:
    """Erases the contents of a conversation, and says what was erased.

    Args:
        by: who wants it, for the tombstone.
        force: also if tasks of it have no result yet; they will never have one.

    Raises:
        UsageError: there is no such conversation, or tasks of it have no result yet.
        BusError: the server does not answer; the next call goes on.
    """
    tasks = await index.ask(lambda db: queries.tasks_of(db, subjects.env, conversation))
    if not await index.ask(lambda db: queries.around(db, subjects.env, conversation, 0, limit=1)):
        raise UsageError(f"nothing of a conversation {conversation!r} is on record")
    waiting = [each.task for each in tasks if not each.answered]
    if waiting and not force:
        some = ", ".join(map(short_id, waiting[:_SHOWN]))
        raise UsageError(
            f"{len(waiting)} of its tasks have no result yet ({some}): cancel them with `agentd "
            f"stop -c {conversation}`, or forget them unanswered with --force"
        )
    return await _Erasure(bus, subjects, index, conversation, by).all(tasks)


class _Erasure:
    def __init__(
        self, bus: Bus, subjects: Subjects, index: Index, conversation: str, by: Mapping[str, Any]
    ) -> None:
        self._bus = bus
        self._subjects = subjects
        self._index = index
        self._conversation = conversation
        self._by = by
        self._done = Forgotten()

    async def all(self, tasks: Sequence[queries.TaskOf]) -> Forgotten:
        """Erases everything."""
        # First: a task that no process has yet must not begin meanwhile.
        await self._erase_waiting()
        since = time.time() - _CHUNKS_KEPT
        for task in (each.task for each in tasks if each.last > since):
            await self._purge(CHUNKS, self._subjects.stream(task))
        # A cached answer does not say which conversation it was given in.
        await self._purge(CACHE, bucket(CACHE, self._subjects.env, ">"))
        erased: Sequence[int] = ()
        while sequences := await self._index.ask(self._left):
            if sequences == erased:
                raise BusError(f"{LOG}: messages that were erased are still there")
            await self._erase(erased := sequences)
        await self._erase_waiting()  # what the server had still to copy from the log
        return self._done

    async def _erase_waiting(self) -> None:
        """Erases the copies of tasks that are still to be done, now or later."""
        await self._erase_copies(WORK, self._subjects.all_work)
        for pattern in scheduled(self._subjects.env):
            await self._erase_copies(SCHEDULES, pattern)

    def _left(self, db: sqlite3.Connection) -> list[int]:
        """Messages of the conversation that are not erased yet."""
        return queries.around(db, self._subjects.env, self._conversation, 0, limit=_MOST)

    async def _erase(self, sequences: Sequence[int]) -> None:
        found = await _together(self._bus, message_at, sequences)
        messages = [msg for msg in found if msg]
        # What an event says was erased stays said if the event is erased itself.
        erased = [list(each) for msg in messages for each in _announced(msg)]
        erased += erasure.ranges(sequences)
        await self._store_tombstone(erased)
        for name in sorted({name.decode() for msg in messages for name in _digests(msg.data)}):
            await self._erase_object(name)
        await _together(self._bus, _erase, sequences)
        await self._store_tombstone(erased)
        self._done.messages += len(messages)

    async def _store_tombstone(self, erased: list[list[int]]) -> None:
        content = {
            "event": FORGOTTEN,
            "conversation": digest(self._conversation),
            "by": dict(self._by),
            erasure.FIELD: erased,
        }
        event = new(
            "event",
            content,
            source=AgentIdentity(id="agentd-forget", type="runtime"),
            context=Context(conversation_id="system"),
        )
        subject = self._subjects.event("conversation", "forgotten")
        await jetstream.store(self._bus, subject, encode(event), message_id=event.id)

    async def _erase_object(self, name: str) -> None:
        """Erases an object, unless a message of another conversation refers to it."""
        if await self._index.ask(lambda db: queries.refers(db, name, without=self._conversation)):
            self._done.shared += 1
        elif await objects.erase(self._bus, name):
            self._done.objects += 1

    async def _erase_copies(self, stream: str, pattern: str) -> None:
        """Erases the tasks of the conversation that wait in another stream."""
        async for msg in jetstream.stored(self._bus, stream, pattern):
            if _conversation(msg) == self._conversation:
                await jetstream.delete(self._bus, stream, sequence_of(msg), overwrite=True)
                self._done.copies += 1

    async def _purge(self, stream: str, pattern: str) -> None:
        try:
            await jetstream.api(self._bus, f"STREAM.PURGE.{stream}", {"filter": pattern})
        except ApiError as error:
            if error.code != _NO_SUCH_STREAM:  # an account with few streams
                raise


async def _together(
    bus: Bus, work: Callable[[Bus, int], Awaitable[_T]], sequences: Sequence[int]
) -> list[_T]:
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(sequence: int) -> _T:
        async with room:
            return await work(bus, sequence)

    return await asyncio.gather(*map(one, sequences))


async def _erase(bus: Bus, sequence: int) -> None:
    await jetstream.delete(bus, LOG, sequence, overwrite=True)


def _announced(msg: Msg) -> tuple[tuple[int, int], ...]:
    """What a message says was erased before."""
    subject = Subject.nearest((msg.headers or {})["Nats-Subject"])
    return erasure.named(content_of(msg)) if erasure.may_erase(subject) else ()


def _conversation(msg: Msg) -> str:
    """The conversation of a task: without one in it, it is one itself."""
    message = object_in(msg.data)
    context = mapping(message.get("context"))
    found = context.get("conversationId") or message.get("id")
    return found if isinstance(found, str) else (msg.headers or {}).get("Nats-Msg-Id", "")
