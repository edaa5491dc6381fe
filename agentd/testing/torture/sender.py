"""Sends tasks with known ids, and keeps which of them the server has accepted."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agentd.errors import BusError
from agentd.nats import jetstream, schedules
from agentd.nats.bus import Bus
from agentd.nats.schedules import ScheduleEntry, Timing
from agentd.protocol.subjects import Subjects
from agentd.queue.delivery import TASK

DOMAIN = "work"
_AT_ONCE = 64


def no_message(_: str) -> bytes:
    """The body of a task that no agent can read."""
    return b'{"payload": {}}'


@dataclass(frozen=True, kw_only=True)
class TaskDraft:
    """What is sent: `content` follows the task's id. `body` makes the whole message of that id.
    What is `due` at a time (Unix seconds) is sent by the server then."""

    content: str = "please"
    domain: str = DOMAIN
    specificity: str = "torture"
    priority: int | None = None
    body: Callable[[str], bytes] | None = None
    fields: Mapping[str, Any] | None = None
    due: float | None = None


class Sender:
    """Sends over `bus`. `accepted` says when each task was acknowledged (`time.time()`)."""

    def __init__(
        self, bus: Bus, subjects: Subjects, rng: random.Random, *, same_id: bool = True
    ) -> None:
        self.accepted: dict[str, float] = {}
        self.drafts: dict[str, TaskDraft] = {}
        self._bus = bus
        self._subjects = subjects
        self._run = f"{rng.getrandbits(24):06x}"
        self._same_id = same_id
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def send(
        self, count: int, draft: Callable[[int], TaskDraft] | None = None, *, over: float = 0.0
    ) -> list[str]:
        """Sends `count` tasks, many at once, until each is accepted; returns their ids.

        `over` spreads them over so many seconds.
        """
        make = draft or (lambda _: TaskDraft())
        async with asyncio.TaskGroup() as group:
            names: list[str] = []
            for number in range(count):
                names.append(self._name())
                await self._room.acquire()
                await asyncio.sleep(over / count)
                group.create_task(self._send_in_room(names[-1], make(number)))
        return names

    async def send_one(self, draft: TaskDraft | None = None) -> str:
        """Sends one task until it is accepted; returns its id."""
        return (await self.send(1, lambda _: draft or TaskDraft()))[0]

    def _name(self) -> str:
        name = f"{self._run}-{len(self.drafts)}"
        self.drafts[name] = TaskDraft()
        return name

    async def _send_in_room(self, name: str, draft: TaskDraft) -> None:
        self.drafts[name] = draft
        try:
            await self._until_accepted(name, draft)
        finally:
            self._room.release()

    async def _until_accepted(self, name: str, draft: TaskDraft) -> None:
        """A sender that is told of a failure tries again: the streams are being healed, say."""
        subject = self._subjects.task(draft.domain, draft.specificity, draft.priority)
        while True:
            try:
                await self._store(subject, name, draft)
            except BusError:
                await asyncio.sleep(0.05)
            else:
                self.accepted[name] = time.time()
                return

    async def _store(self, subject: str, name: str, draft: TaskDraft) -> None:
        data = _body(name, draft)
        if draft.due is not None:
            later = ScheduleEntry(
                subject=self._subjects.schedule("message", name),
                target=subject,
                data=data,
                timing=Timing.at(draft.due),
                headers={TASK: name},
            )
            await schedules.put(self._bus, later)
            return
        told = {TASK: name}  # a body that is no message has no id
        if self._same_id:
            await jetstream.store(
                self._bus, subject, data, message_id=name, headers=told, patience=2
            )
            return
        # One try, and the next one has another id: the server cannot know that it is the same.
        new_id = f"{name}.{secrets.token_hex(4)}"
        await jetstream.store(self._bus, subject, data, message_id=new_id, headers=told, patience=0)


def _body(name: str, draft: TaskDraft) -> bytes:
    if draft.body is not None:
        return draft.body(name)
    message = {"id": name, "payload": {"content": f"{name} {draft.content}"}}
    return json.dumps({**message, **(draft.fields or {})}).encode()
