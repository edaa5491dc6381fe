"""The task that was stored first under an id, and so where its result belongs.

Whoever knows the id of a task can send another task under it, to another agent. Then the log has
two results of one id. That of the first task counts. Where it was sent says how it was accepted;
only a task that no caller of `accept` sent must be searched for in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from weakref import WeakKeyDictionary

from agentd.errors import AgentdError, DecodeError
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.records import skipping
from agentd.nats.streams import LOG, WORK
from agentd.protocol.destination import Destination, Recipients
from agentd.protocol.subjects import Subject, Subjects
from agentd.queue.delivery import Parcel, parcel
from agentd.queue.topic import read_topic
from agentd.routing import accept
from agentd.routing.accept import Acceptance

_WINDOW = 50_000  # messages of the log, the newest ones, in which a task is searched for
_REST = 4  # a pass is followed by a pause of so many times its length


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The task that was stored first under its id.

    Attributes:
        subject: where it was stored.
        sequence: in LOG: of the task, or of the entry that says that it was accepted.
        results: the subjects that its result may have. An agent that forwards a task changes it.
        accepted: nobody can have sent a task under this id before that counts.
    """

    subject: Subject
    sequence: int
    results: frozenset[str]
    accepted: bool = False


async def find(bus: Bus, subjects: Subjects, task: str) -> Origin | None:
    """The origin of a task; None if it was not accepted, and `search` does not find it.

    Raises:
        BusError: the server does not answer.
    """
    acceptance = await accept.noted(bus, subjects, task)
    acceptance = acceptance or await accept.find(bus, subjects, task)
    return of(acceptance, subjects) if acceptance else await search(bus, subjects, task)


def of(acceptance: Acceptance, subjects: Subjects) -> Origin:
    """The origin of a task that was accepted: `accept` sends it where nobody forwards it."""
    to = acceptance.subject
    return Origin(
        subject=to,
        sequence=acceptance.sequence,
        results=frozenset({subjects.result(to.domain, to.specificity, acceptance.task)}),
        accepted=True,
    )


async def search(bus: Bus, subjects: Subjects, task: str) -> Origin | None:
    """The first task of this id among the newest messages of the log and all tasks that wait.

    The log has no index of ids. All who search at the same time share one pass over it.

    Raises:
        BusError: the server does not answer.
    """
    shared = _searches.setdefault(bus, {}).setdefault(subjects.env, _Search())
    return await shared.find(bus, subjects, task)


class _Search:
    """The passes over the log of one environment: one at a time, with pauses between them."""

    def __init__(self) -> None:
        self._wanted: dict[str, asyncio.Future[Origin | None]] = {}
        self._running: asyncio.Task[None] | None = None
        self._not_before = 0.0

    async def find(self, bus: Bus, subjects: Subjects, task: str) -> Origin | None:
        if task not in self._wanted:
            self._wanted[task] = asyncio.get_running_loop().create_future()
        wanted = self._wanted[task]
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run(bus, subjects))
        return await asyncio.shield(wanted)

    async def _run(self, bus: Bus, subjects: Subjects) -> None:
        clock = asyncio.get_running_loop().time
        while self._wanted:
            await asyncio.sleep(self._not_before - clock())
            wanted, self._wanted = self._wanted, {}
            began = clock()
            try:
                found = await _first_of(bus, subjects, wanted)
            except AgentdError as error:
                for each in wanted.values():
                    each.set_exception(error)
                    each.exception()  # who wanted it may have gone
            else:
                for task, each in wanted.items():
                    each.set_result(found.get(task))
            finally:
                for each in wanted.values():
                    each.cancel()  # without effect on what is done
            self._not_before = clock() + _REST * (clock() - began)


_searches: WeakKeyDictionary[Bus, dict[str, _Search]] = WeakKeyDictionary()


async def _first_of(bus: Bus, subjects: Subjects, wanted: Collection[str]) -> Mapping[str, Origin]:
    """The origins of the tasks with these ids, as far as they are found."""
    found: dict[str, Origin] = {}
    missing = {task: task.encode() for task in wanted}
    async for stream, msg in _tasks(bus, subjects):
        named = (msg.headers or {}).values()
        if any(raw in msg.data or task in named for task, raw in missing.items()):
            with skipping(stream, msg):
                stored = _parcel(stream, msg)
                if stored.task_id in missing:
                    found[stored.task_id] = await _origin(bus, subjects, stored)
                    del missing[stored.task_id]
        if not missing:
            break
    return found


async def _tasks(bus: Bus, subjects: Subjects) -> AsyncIterator[tuple[str, Msg]]:
    """The tasks to be searched, oldest first, and the stream that each is from."""
    newest = await jetstream.last(bus, LOG, subjects.everything)
    start = _sequence(newest) - _WINDOW if newest else 0
    if start > 1:  # an older task may still wait
        async for msg in jetstream.stored(bus, WORK, subjects.all_work):
            yield WORK, msg
    async for msg in jetstream.stored(bus, LOG, subjects.pattern("task.>"), start=max(1, start)):
        yield LOG, msg


async def _origin(bus: Bus, subjects: Subjects, stored: Parcel) -> Origin:
    task, topic = stored.task_id, await read_topic(bus, stored)
    places = {Destination(topic.domain, topic.specificity)}
    if topic == stored.subject:
        # One with a topic keeps it when it is forwarded.
        with contextlib.suppress(DecodeError):
            places |= {Recipients.of(stored.task(), to).destination for to in places}
    return Origin(
        subject=stored.subject,
        sequence=stored.sequence,
        results=frozenset(subjects.result(to.domain, to.specificity, task) for to in places),
    )


def _parcel(stream: str, msg: Msg) -> Parcel:
    """A task as the stream has it.

    Raises:
        SubjectError: it is none.
    """
    headers = dict(msg.headers or {})
    stored_at = datetime.fromisoformat(headers["Nats-Time-Stamp"]).timestamp()
    if stream == WORK:
        return parcel(msg.data, headers, attempt=0, stored_at=stored_at)
    published = headers["Nats-Subject"]
    subject = Subject.nearest(published)
    return Parcel(
        data=msg.data,
        headers=headers,
        subject=subject,
        attempt=0,
        stored_at=stored_at,
        sequence=_sequence(msg),
        foreign="" if published == str(subject) else published,
    )


def _sequence(msg: Msg) -> int:
    return int((msg.headers or {})["Nats-Sequence"])
