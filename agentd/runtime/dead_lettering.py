"""Dead-letters tasks that no agent runs: a dead letter, an error result, removal from WORK.

That is for tasks that were cancelled while they waited, and for those that the server has given up:
a consumer with a limit of deliveries drops a message without asking agentd.
"""

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
from agentd.nats.records import skipping
from agentd.nats.streams import WORK
from agentd.protocol.message import AgentIdentity, AgentMessage, new, short_id
from agentd.protocol.server_subjects import consumer_advisory
from agentd.protocol.subjects import MALFORMED, Subjects, is_token
from agentd.queue import dead_letters
from agentd.queue.delivery import Parcel, parcel
from agentd.queue.topic import read_topic

log = logging.getLogger(__name__)

_RUNTIME = AgentIdentity(id="agentd", type="runtime")


async def dead_letter(
    bus: Bus, subjects: Subjects, parcel: Parcel, error: Undeliverable, *, sequence: int
) -> None:
    """Dead-letters the task with this sequence in WORK, 0 if it is not there; `error` has the
    reason.

    Raises:
        BusError: it could not be recorded; the task is still in WORK.
    """
    task = task_of(parcel)
    topic = await read_topic(bus, parcel)
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
            result_subject(subjects, topic, task.id),
            Outcome(revision="", model="", latency=0.0, error=error),
            task=task,
            source=_RUNTIME,
            headers={},
            also=[letter],
        )
    except Conflict:
        log.info("%s has a result already: no dead letter", short_id(task.id))
    # Last: after a crash before this the task is delivered, and settled because it has a result.
    if sequence:
        await jetstream.delete(bus, WORK, sequence)


async def refuse_foreign(bus: Bus, subjects: Subjects, work: str) -> None:
    """Dead-letters the tasks on a subject of WORK whose domain no agent can have.

    Raises:
        BusError: the server does not answer.
    """
    # The server reports a byte that is not UTF-8 as another one, so the exact subject is not known.
    tokens = [each if is_token(each) else "*" for each in work.split(".")]
    async for msg in jetstream.stored(bus, WORK, ".".join(tokens)):
        with skipping(WORK, msg):
            waiting, sequence = waiting_in(msg)
            if waiting.subject.domain == MALFORMED and waiting.foreign:
                problem = f"{waiting.foreign} is no subject of agentd: no agent can have its domain"
                error = Undeliverable(problem, code="malformed")
                await dead_letter(bus, subjects, waiting, error, sequence=sequence)


def waiting_in(msg: Msg) -> tuple[Parcel, int]:
    """The task in a message that was read from WORK, and its sequence there.

    Raises:
        SubjectError: it is not a task.
    """
    headers = dict(msg.headers or {})
    stored_at = datetime.fromisoformat(headers["Nats-Time-Stamp"]).timestamp()
    waiting = parcel(msg.data, headers, attempt=0, stored_at=stored_at)
    return waiting, int(headers["Nats-Sequence"])


def task_of(parcel: Parcel) -> AgentMessage:
    """The message of a parcel. Bytes that are not a valid message give an empty task with their id,
    so that their sender receives a result."""
    try:
        return parcel.task()
    except DecodeError:
        return new("task", None, source=_RUNTIME, id=parcel.task_id)


_HEADER = re.compile(r"^([^:\r\n]+):[ ]*(.*?)\r?$", re.MULTILINE)


class Advisories:
    """Subscribes to the server's advisories about messages that its consumers gave up.

    All processes of an environment form one queue group, so one of them acts on each advisory.
    """

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subjects = subjects

    async def open(self) -> None:
        """Subscribes."""
        group = self._subjects.group
        # The advisories of other environments arrive too; see `_is_ours`.
        given_up = consumer_advisory("MAX_DELIVERIES", WORK)
        await self._bus.subscribe(given_up, self._on_given_up, group)
        terminated = consumer_advisory("MSG_TERMINATED", WORK)
        await self._bus.subscribe(terminated, self._on_terminated, group)

    async def _on_given_up(self, msg: Msg) -> None:
        """The server has delivered a task as often as its consumer allows.

        The consumers of agentd have no such limit; an operator may have set one.
        """
        advisory: dict[str, Any] = json.loads(msg.data)
        if not self._is_ours(advisory):
            return
        try:
            await self._dead_letter(int(advisory["stream_seq"]), int(advisory["deliveries"]))
        except BusError as error:
            log.warning("a task that the server gave up is not dead-lettered: %s", error)

    async def _on_terminated(self, msg: Msg) -> None:
        """Another program removed a task from WORK. The log still has it."""
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
            _headers(raw.get("hdrs", "")) | {"Nats-Subject": raw["subject"]},
            attempt=deliveries,
            stored_at=datetime.fromisoformat(raw["time"]).timestamp(),
        )
        error = Undeliverable(f"the server gave up after {deliveries} deliveries", code="given_up")
        await dead_letter(self._bus, self._subjects, given_up, error, sequence=sequence)


def _headers(encoded: str) -> dict[str, str]:
    """The headers of a stored message: the line `NATS/1.0`, then one `Name: value` per line."""
    return dict(_HEADER.findall(base64.b64decode(encoded).decode(errors="replace")))
