"""One attempt at a task, from the lookup of its result to the commit of its outcome."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable
from dataclasses import dataclass

from agentd import crash_points
from agentd.agent import outcome as outcomes
from agentd.agent.admission import Misdirected, admit
from agentd.agent.commit import commit, refuse
from agentd.agent.delivered_task import DeliveredTask
from agentd.agent.emit import FollowUp, plan
from agentd.agent.forward import forward
from agentd.agent.outcome import Outcome
from agentd.agent.retry import final_error
from agentd.agent.stream import Deltas
from agentd.errors import AgentdError, BusError, Paused, TaskError, TooLarge, Undeliverable
from agentd.nats.objects import whole
from agentd.protocol.destination import Destination
from agentd.protocol.message import AgentMessage, short_id
from agentd.queue import approvals
from agentd.queue.approvals import Verdicts
from agentd.queue.delivery import Delivery
from agentd.queue.journal import HANDED_BACK, Standing
from agentd.run.context import Reader, RunContext
from agentd.run.deadline import Deadline
from agentd.run.loop import RunResult, run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Finished:
    """How an attempt ended, what the agent emits after it, and which attempt it was, from 1."""

    outcome: Outcome
    follow_ups: tuple[FollowUp, ...] = ()
    attempt: int = 1


async def attempt(task: DeliveredTask) -> Outcome | None:
    """Works on the task until its outcome is on record; returns that outcome.

    None means that the task needs no more work here: its outcome was on record before, or it was
    forwarded or suspended.

    Raises:
        Again: this attempt failed, and another one is worth it.
        Conflict: another replica's outcome came first.
        BusError: something could not be recorded; the task is to be delivered again.
    """
    if await outcomes.on_record(task.services.bus, task.result_subject):
        return None
    try:
        finished = await _answer(task)
        await commit(
            task, finished.outcome, follow_ups=finished.follow_ups, attempt=finished.attempt
        )
    except Misdirected:
        return await _or_refused(task, forward(task))
    except Paused as paused:
        return await _or_refused(task, _suspend(task, paused))
    except asyncio.CancelledError:
        await excuse(task, patience=0.5)
        raise
    crash_points.here("after-commit")
    return finished.outcome


async def _or_refused(task: DeliveredTask, publishing: Awaitable[Outcome | None]) -> Outcome | None:
    """Publishes the task once more, or refuses it if it is too large for that: the sender's bytes
    may have left no room for headers of ours."""
    try:
        return await publishing
    except TooLarge as error:
        return await refuse(task, Undeliverable(str(error), code="malformed"))


async def excuse(task: DeliveredTask, *, patience: float) -> None:
    """Notes in the journal, within `patience` seconds, that this delivery was no attempt."""
    try:
        await task.journal.note(HANDED_BACK, patience=patience)
    except BusError as error:
        log.warning("%s counts as an attempt: %s", short_id(task.message.id), error)


async def _answer(task: DeliveredTask) -> _Finished:
    """Runs the task and streams its answer."""
    if not task.manifest.stream:
        return await _run_or_fail(task, None)
    deltas = Deltas(
        task.services.bus,
        task.services.subjects.stream(task.message.id),
        task=task.message,
        source=task.source,
        headers=task.trace.headers(),
    )
    try:
        finished = await _run_or_fail(task, deltas)
    finally:
        await deltas.stop()
    await deltas.finish()
    return finished


async def _run_or_fail(task: DeliveredTask, reader: Reader | None) -> _Finished:
    """The end of this attempt: an answer, or the error that the task ends with."""
    # A first delivery has no journal yet, and nothing decided.
    standing = Standing() if task.delivery.is_first else await task.journal.read()
    number = min(standing.attempt, task.manifest.retry.attempts)
    deadline = task.deadline(standing.used)
    try:
        _admit(task, standing)
        with task.services.cancellations.obeyed(task.message):
            async with _in_turn(task, standing) if standing.suspect else contextlib.nullcontext():
                if standing.suspect:
                    deadline = task.deadline(standing.used)  # the wait for a turn does not count
                result, follow_ups = await _run(task, standing, deadline, reader)
    except TaskError as error:
        final = await final_error(task, error, number, deadline)
        return _Finished(task.outcome(error=final), (), number)
    return _Finished(task.outcome(result=result), follow_ups, number)


def _admit(task: DeliveredTask, standing: Standing) -> None:
    """Checks that this agent may run the task now.

    Raises:
        TaskError: the next task of its schedule is due already, and this one was never begun
            (`missed`): of those that waited for a replica, the last one is enough.
        Undeliverable: its subject is outside the grammar (`malformed`), or too many attempts ended
            without a word (`poisonous`); or as `admission.admit`.
        Misdirected: as `admission.admit`.
    """
    delivery, now = task.delivery, task.services.clock()
    if delivery.foreign:
        problem = f"{delivery.foreign} is no subject of agentd: use A-Z a-z 0-9 _ -, up to 64"
        raise Undeliverable(problem, code="malformed")
    if delivery.overtaken_at and delivery.attempt == 1 and now >= delivery.overtaken_at:
        raise TaskError("the next task of its schedule was due first", code="missed")
    admit(
        task.message,
        to=Destination(delivery.subject.domain, delivery.subject.specificity),
        agent=task.source.id,
        capabilities=task.manifest.capabilities,
        hops=task.manifest.limits.hops,
        now=now,
        waited_for=_waited_for(delivery),
    )
    allowed = task.manifest.retry.attempts
    if standing.attempt > allowed:
        raise Undeliverable(
            f"{allowed} attempts ended without an outcome, with the process they ran in",
            code="poisonous",
        )


def _waited_for(delivery: Delivery) -> str:
    """What has kept a task until this delivery."""
    if delivery.resumes:
        return "a decision on its tool calls"
    return "a free slot" if delivery.attempt == 1 else "another attempt"


async def _run(
    task: DeliveredTask, standing: Standing, deadline: Deadline, reader: Reader | None
) -> tuple[RunResult, tuple[FollowUp, ...]]:
    """The answer, and what the agent emits after it.

    Raises:
        Paused: an approval is needed first, or this delivery has suspended the task already.
        TaskError: the run failed.
    """
    services = task.services
    verdicts = Verdicts()
    if not task.delivery.is_first:
        verdicts = await approvals.verdicts(
            services.bus, services.subjects, task.message.id, task.delivery
        )
    crash_points.here("before-model")
    context = RunContext(
        deadline=deadline,
        budget=lambda: services.budgets.of_task(task.message, task.manifest.limits, deadline),
        metrics=services.metrics,
        now=services.clock(),
        journal=lambda: task.journal,
        memory=lambda: task.memory,
        bus=services.bus,
        steps=standing.steps,
        reader=reader,
        spending=task.spending,
        verdicts=verdicts,
        calls=task.calls,
    )
    finished = await _guarded(task, context)
    crash_points.here("after-model")
    return finished


@contextlib.asynccontextmanager
async def _in_turn(task: DeliveredTask, standing: Standing) -> AsyncGenerator[None]:
    """Waits for this suspect's turn, and notes its start: those that still waited when the process
    dies are not blamed.

    A suspect runs alone if it was counted before, or if this is its last attempt: so none that
    was only beside the one that kills is given up for it.
    """
    last = standing.attempt >= task.manifest.retry.attempts
    async with task.services.suspects.turn(alone=last or standing.attempt > 2):
        await task.journal.begin()
        yield


async def _guarded(
    task: DeliveredTask, context: RunContext
) -> tuple[RunResult, tuple[FollowUp, ...]]:
    """Runs the agent. A bug is an error of this task, and is not tried again."""
    try:
        message = await whole(context.bus, task.message)
        result = await run(task.revision, message, context)
        return result, _plan(task, message, result, context.now)
    except AgentdError:
        raise
    except Exception as error:
        log.exception("a bug ended %s", short_id(task.message.id), extra={"agent": task.source.id})
        raise TaskError(f"{type(error).__name__}: {error}", code="internal") from error


def _plan(
    task: DeliveredTask, message: AgentMessage, result: RunResult, now: float
) -> tuple[FollowUp, ...]:
    """What the agent emits after this answer: most agents emit nothing. Calls that are given back
    are no answer yet."""
    if result.given_back or not (task.manifest.emit.rules or result.emitted):
        return ()
    # The subject tells apart tasks of two environments or domains that share an id.
    seed = task.services.secret.identify(task.result_subject, task.delivery.life)
    return plan(task.revision, message, result, task.source, seed=seed, now=now)


async def _suspend(task: DeliveredTask, paused: Paused) -> None:
    """Suspends the task until the approvals that it needs are decided."""
    if not paused.calls:
        return  # suspended already, by an earlier delivery
    services = task.services
    await approvals.suspend(
        services.bus,
        services.subjects,
        task.message,
        task.delivery,
        paused,
        source=task.source,
    )
    crash_points.here("after-request")
    log.info("%s %s", short_id(task.message.id), paused, extra={"agent": task.source.id})
