"""The commit: the outcome of a task and all that belongs to it, on record in one atomic batch."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from agentd import crash_points
from agentd.agent import outcome as outcomes
from agentd.agent.delivered_task import DeliveredTask
from agentd.agent.emit import FollowUp, counts
from agentd.agent.outcome import Outcome
from agentd.errors import BusError, TaskError, TooLarge, Undeliverable
from agentd.nats.jetstream import Record
from agentd.protocol.message import short_id
from agentd.queue import dead_letters
from agentd.telemetry import active

log = logging.getLogger(__name__)


async def commit(
    task: DeliveredTask,
    outcome: Outcome,
    *,
    follow_ups: Sequence[FollowUp] = (),
    attempt: int = 1,
) -> None:
    """Stores the result, and with it what the answer emits, what the conversation remembers of it,
    and the dead letter of a task that is given up in this `attempt`.

    Raises:
        Conflict: another replica's outcome is on record; this one is dropped.
        BusError: it could not be stored; the task is to be delivered again.
    """
    try:
        await _store(task, outcome, follow_ups, attempt)
    except TooLarge as error:
        failure = task.outcome(error=TaskError(str(error), code="answer_too_large"))
        await _store(task, replace(failure, called=outcome.called), (), attempt)


async def refuse(task: DeliveredTask, error: Undeliverable) -> Outcome:
    """Commits a dead letter and an error result for a task that is not attempted.

    Raises:
        Conflict, BusError: as `commit`.
    """
    outcome = task.outcome(error=error)
    await commit(task, outcome)
    crash_points.here("after-letter")
    return outcome


async def _store(
    task: DeliveredTask, outcome: Outcome, follow_ups: Sequence[FollowUp], attempt: int
) -> None:
    also = await _remembered(task, outcome)
    if follow_ups:
        also += await task.services.emitter.records(follow_ups, task.trace.headers())
    if isinstance(outcome.error, Undeliverable):
        also.append(await _dead_letter(task, outcome.error, attempt))
    if follow_ups or task.manifest.emit.rules:
        emitted = counts(task.manifest.emit, [each.subject for each in follow_ups])
        outcome = replace(outcome, emitted=emitted)
    await outcomes.store(
        task.services.bus,
        task.result_subject,
        outcome,
        task=task.message,
        source=task.source,
        headers=_headers(task),
        also=also,
    )


def _headers(task: DeliveredTask) -> Mapping[str, str]:
    """The headers of the result."""
    if active.tracer is None:
        return task.trace.headers()
    conversation = task.message.context.conversation_id
    return active.tracer.created(task.result_subject, conversation)


async def _remembered(task: DeliveredTask, outcome: Outcome) -> list[Record]:
    """What the conversation remembers of this task."""
    if outcome.result is None or outcome.result.given_back or not _is_remembered(task):
        return []
    data = outcome.result.data
    answer = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    try:
        return [await task.memory.exchange(outcome.result.asked, answer)]
    except BusError as error:
        # Losing the memory of an answer is better than losing the answer, which has been paid for.
        log.warning("%s will not be remembered: %s", short_id(task.message.id), error)
        return []


def _is_remembered(task: DeliveredTask) -> bool:
    """Whether the conversation has a memory. Unless the sender says so, a task that is its own
    conversation is only remembered by an agent with a `history`: no other could continue it."""
    if task.manifest.call:  # the answer of a tool that no model asked for was said to nobody
        return False
    context = task.message.context
    if context.memory is not None:
        return context.memory
    return context.conversation_id != task.message.id or task.manifest.history is not None


async def _dead_letter(task: DeliveredTask, error: Undeliverable, attempt: int) -> Record:
    return await dead_letters.dead_letter(
        task.services.bus,
        task.services.subjects,
        task.delivery,
        reason=error.code,
        error=error,
        attempts=attempt,
        task_id=task.message.id,
    )
