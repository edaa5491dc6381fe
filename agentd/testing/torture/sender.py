"""Sends tasks with known ids, and records which of them the server has accepted."""

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
_AT_ONCE = 64  # tasks that are sent but not acknowledged yet


def malformed_body(_: str) -> bytes:
    """The body of a task that is not a valid message."""
    return b'{"payload": {}}'


@dataclass(frozen=True, kw_only=True)
class TaskDraft:
    """The properties of a task to send.

    Attributes:
        content: the text of the message, after the id of the task.
        fields: further fields of the message.
        body: makes the whole message from the id, in place of `content` and `fields`.
        due: when the server is to publish the task, in seconds since the epoch; None is now.
    """

    content: str = "please"
    domain: str = DOMAIN
    specificity: str = "torture"
    priority: int | None = None
    body: Callable[[str], bytes] | None = None
    fields: Mapping[str, Any] | None = None
    due: float | None = None


class Sender:
    """Sends tasks over one connection.

    Attributes:
        accepted: when the server acknowledged a task (`time.time()`).
        drafts: every task that it tried to send.

    Without `same_id`, each try at a task has another message id, so that the server cannot
    recognise a repeated publish (the missing safeguard `message-id`).
    """

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
        """Sends `count` tasks, many at a time, until each is accepted. Returns their ids.

        `over` is the number of seconds over which the tasks are spread.
        """
        make = draft or (lambda _: TaskDraft())
        async with asyncio.TaskGroup() as group:
            names: list[str] = []
            for number in range(count):
                names.append(self._name())
                await (
                    self._room.acquire()
                )  # bounds the asyncio tasks, of which there may be 200,000
                await asyncio.sleep(over / count)
                group.create_task(self._send_in_room(names[-1], make(number)))
        return names

    async def send_one(self, draft: TaskDraft | None = None) -> str:
        """Sends one task until it is accepted. Returns its id."""
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
        """Repeats a publish that failed: the server may be down, or its streams deleted."""
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
        headers = {TASK: name}  # the id must be known even if the body is not a valid message
        if self._same_id:
            await jetstream.store(
                self._bus, subject, data, message_id=name, headers=headers, patience=2
            )
            return
        # No patience: `store` would repeat the publish with the same id.
        new_id = f"{name}.{secrets.token_hex(4)}"
        await jetstream.store(
            self._bus, subject, data, message_id=new_id, headers=headers, patience=0
        )


def _body(name: str, draft: TaskDraft) -> bytes:
    if draft.body is not None:
        return draft.body(name)
    message = {"id": name, "payload": {"content": f"{name} {draft.content}"}}
    return json.dumps({**message, **(draft.fields or {})}).encode()
