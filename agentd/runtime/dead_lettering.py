"""Ends a task that nobody runs: a dead letter, an error result, and it is gone from WORK."""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from agentd.agent.outcome import Outcome, result_subject, store
from agentd.errors import BusError, Conflict, DecodeError, Undeliverable
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.streams import WORK
from agentd.protocol.message import AgentIdentity, AgentMessage, new
from agentd.protocol.server_subjects import consumer_advisory
from agentd.protocol.subjects import Subjects
from agentd.queue import dead_letters
from agentd.queue.delivery import Parcel, parcel

log = logging.getLogger(__name__)

_RUNTIME = AgentIdentity(id="agentd", type="runtime")


async def dead_letter(
    bus: Bus, subjects: Subjects, parcel: Parcel, error: Undeliverable, *, sequence: int
) -> None:
    """Buries the task that is number `sequence` of WORK, for the reason that `error` has.

    Raises:
        BusError: it could not be recorded; it is still in WORK.
    """
    task = task_of(parcel)
    letter = dead_letters.dead_letter(
        subjects,
        parcel,
        reason=error.code,
        error=error,
        attempts=parcel.attempt,
        task_id=task.id,
    )
    try:
        await store(
            bus,
            result_subject(subjects, parcel.topic, task.id),
            Outcome(revision="", model="", latency=0.0, error=error),
            task=task,
            source=_RUNTIME,
            headers={},
            also=[letter],
        )
    except Conflict:
        log.info("task %s was answered all the same", task.id)
    await jetstream.delete(bus, WORK, sequence)


def task_of(parcel: Parcel) -> AgentMessage:
    """The task that it is; of bytes that are none, an empty one with its id."""
    try:
        return parcel.task()
    except DecodeError as error:
        return new("task", None, source=_RUNTIME, id=error.message_id or parcel.default_id)


_HEADER = re.compile(r"^([^:\r\n]+):[ ]*(.*?)\r?$", re.MULTILINE)


class Advisories:
    """One process's ear for the server's advisories; one process of the group acts on each."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subjects = subjects

    async def open(self) -> None:
        """Hears them from now on."""
        group = self._subjects.group
        # The advisories of other environments arrive too; see `_is_ours`.
        given_up = consumer_advisory("MAX_DELIVERIES", WORK)
        await self._bus.subscribe(given_up, self._on_given_up, group)
        terminated = consumer_advisory("MSG_TERMINATED", WORK)
        await self._bus.subscribe(terminated, self._on_terminated, group)

    async def _on_given_up(self, msg: Msg) -> None:
        """The server has delivered a task as often as its consumer allows."""
        advisory: dict[str, Any] = json.loads(msg.data)
        if not self._is_ours(advisory):
            return
        try:
            await self._dead_letter(int(advisory["stream_seq"]), int(advisory["deliveries"]))
        except BusError as error:
            log.warning("a task that the server gave up was not dead_lettered: %s", error)

    async def _on_terminated(self, msg: Msg) -> None:
        """Somebody else removed a task from WORK; its record is in the log."""
        advisory: dict[str, Any] = json.loads(msg.data)
        if self._is_ours(advisory):
            reason = advisory.get("reason") or "no reason given"
            log.warning("a task was terminated on %s: %s", advisory["consumer"], reason)

    def _is_ours(self, advisory: Mapping[str, Any]) -> bool:
        return str(advisory.get("consumer", "")).startswith(f"{self._subjects.env}+")

    async def _dead_letter(self, sequence: int, deliveries: int) -> None:
        found = await jetstream.api(self._bus, f"STREAM.MSG.GET.{WORK}", {"seq": sequence})
        raw: dict[str, str] = found["message"]
        given_up = parcel(
            base64.b64decode(raw.get("data", "")),
            _headers(raw.get("hdrs", "")),
            attempt=deliveries,
            stored_at=datetime.fromisoformat(raw["time"]).timestamp(),
        )
        error = Undeliverable(
            f"the server gave it up after {deliveries} deliveries", code="given_up"
        )
        await dead_letter(self._bus, self._subjects, given_up, error, sequence=sequence)


def _headers(encoded: str) -> dict[str, str]:
    """A stored message's headers: `NATS/1.0`, then a `Name: value` a line."""
    return dict(_HEADER.findall(base64.b64decode(encoded).decode()))
