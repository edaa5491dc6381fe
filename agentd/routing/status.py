"""How far a task has come, by its id alone."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agentd.nats import jetstream, schedules
from agentd.nats.bus import Bus, status_of
from agentd.nats.jetstream import ApiError
from agentd.nats.records import skipping
from agentd.nats.schedules import is_from_schedule
from agentd.nats.streams import LOG, WORK
from agentd.protocol.message import AgentMessage, decode
from agentd.protocol.server_subjects import direct_get
from agentd.protocol.subjects import RESERVED_DOMAINS, Subject, Subjects
from agentd.queue import decisions
from agentd.queue.bands import consumer_name, route_of
from agentd.queue.decisions import ApprovalRequest
from agentd.queue.delivery import Parcel, parcel
from agentd.queue.journal import FAILED, delay_in
from agentd.routing import origin, results
from agentd.routing.accept import Acceptance, acceptance_in, noted, sequence_of

CALLER = "caller"  # in the metadata: the key that a task was sent with

State = Literal["queued", "running", "suspended", "done"]


@dataclass(frozen=True, kw_only=True)
class TaskStatus:
    """How far a task has come.

    Attributes:
        attempts: how often it was begun; an attempt that was handed back does not count. None
            where nobody looked.
        acceptance: who sent it and where to, if a door accepted it.
        result: of a task that is done. A large answer in it is not fetched.
        request: what a suspended task waits for.
        delay: why a task that is not done takes longer, in words; "" if nothing is known.
    """

    state: State
    attempts: int | None = None
    acceptance: Acceptance | None = None
    result: AgentMessage | None = None
    request: ApprovalRequest | None = None
    delay: str = ""

    def is_by(self, caller: str) -> bool:
        """Whether the task was sent by this caller, or followed from such a task."""
        if self.acceptance and self.acceptance.by == caller:
            return True
        return bool(self.result) and self.result.context.metadata.get(CALLER) == caller


async def status(bus: Bus, subjects: Subjects, task: str) -> TaskStatus | None:
    """How far a task has come; None if there is no task of this id.

    Raises:
        SubjectError: `task` cannot be the id of a task.
        BusError: the server does not answer.
    """
    journal = [each async for each in _journal(bus, subjects, task)]
    acceptance = next(
        (found for seq, content in journal if (found := acceptance_in(content, task, seq))), None
    )
    known = origin.of(acceptance, subjects) if acceptance else None
    result = await results.find(bus, subjects, task, known)
    failed = sum(content.get("event") == FAILED for _, content in journal)
    if result:
        return TaskStatus(state="done", attempts=failed + 1, acceptance=acceptance, result=result)
    if request := await _open_request(bus, subjects, task):
        return TaskStatus(
            state="suspended", attempts=failed + 1, acceptance=acceptance, request=request
        )
    sequence = 0
    if acceptance:
        # Without its task, the entry was left by a process that died before it answered.
        sequence = await sequence_of(bus, subjects, acceptance)
    elif acceptance := await noted(bus, subjects, task):
        sequence = acceptance.sequence
    if acceptance and sequence:
        begun = await _is_begun(bus, subjects, acceptance.subject, sequence)
    else:
        begun = await _look_for(bus, subjects, task, has_journal=len(journal) > bool(acceptance))
    if begun is None:
        return None
    return TaskStatus(
        state="running" if begun else "queued",
        attempts=failed + begun,
        acceptance=acceptance,
        delay=_delay(journal),
    )


async def _journal(
    bus: Bus, subjects: Subjects, task: str
) -> AsyncIterator[tuple[int, dict[str, Any]]]:
    """The entries of the journal, with their sequences."""
    async for msg in jetstream.stored(bus, LOG, subjects.event("run", task)):
        if is_from_schedule(msg):
            continue
        content = None
        with skipping(LOG, msg):
            content = decode(msg.data, type="event").payload.content
        if isinstance(content, dict):
            yield int((msg.headers or {})["Nats-Sequence"]), content


async def _open_request(bus: Bus, subjects: Subjects, task: str) -> ApprovalRequest | None:
    dialogue = await decisions.read(bus, subjects, task)
    newest = dialogue.requests[-1] if dialogue.requests else None
    if newest is None or newest.expires < time.time() or dialogue.is_decided(newest):
        return None
    return newest


def _delay(journal: Sequence[tuple[int, dict[str, Any]]]) -> str:
    """What the newest entry says about a delay."""
    return (delay_in(journal[-1][1]) or "") if journal else ""


async def _is_begun(bus: Bus, subjects: Subjects, subject: Subject, sequence: int) -> bool:
    """Whether the task with this sequence in LOG was delivered to an agent.

    Its queue is delivered in order: the task is begun if the first one that was not delivered yet
    stands behind it.
    """
    name = consumer_name(subjects.env, route_of(subject), subject.priority)
    try:
        info = await jetstream.api(bus, f"CONSUMER.INFO.{WORK}.{name}")
    except ApiError:
        return False  # no agent has ever pulled such a task
    one = subject.specificity if subject.domain in RESERVED_DOMAINS else None
    queue = subjects.work(subject.domain, one, priority=subject.priority)
    after = int(info["delivered"]["stream_seq"]) + 1
    first = {"batch": 1, "seq": after, "next_by_subj": queue}
    waiting = await bus.request(direct_get(WORK), json.dumps(first).encode())
    if status_of(waiting):
        return True
    return _parcel(dict(waiting.headers or {}), waiting.data).sequence > sequence


async def _look_for(bus: Bus, subjects: Subjects, task: str, *, has_journal: bool) -> bool | None:
    """Whether a task that no door has accepted was begun; None if there is no such task."""
    if found := await origin.search(bus, subjects, task):
        return await _is_begun(bus, subjects, found.subject, found.sequence)
    if has_journal:
        return True
    later = await schedules.find(bus, subjects.schedule("message", task))
    return False if later else None


def _parcel(headers: dict[str, str], data: bytes) -> Parcel:
    """A task as WORK has it.

    Raises:
        SubjectError: it is none.
    """
    return parcel(data, headers, attempt=0, stored_at=0)
