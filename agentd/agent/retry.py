"""Decides what a failed attempt leads to: another attempt, and when, or the end of the task."""

from __future__ import annotations

import random

from agentd.agent.delivered_task import DeliveredTask
from agentd.errors import Again, ModelError, TaskError, Throttled, Undeliverable
from agentd.manifest.limits import Retry
from agentd.run.deadline import Deadline


async def final_error(
    task: DeliveredTask, error: TaskError, attempt: int, deadline: Deadline
) -> TaskError:
    """The error that the task ends with, after this `attempt` (from 1) failed.

    Raises:
        Again: the error may pass, an attempt is left, and so is time for it. Time that a rate, a
            budget or a provider asks for is not the task's own.
        BusError: the attempt could not be noted in the journal.
    """
    if not error.retryable:
        return error
    policy = task.manifest.retry
    throttled = isinstance(error, Throttled)  # nothing was called: this was no attempt
    if attempt >= policy.attempts and not throttled:
        return Undeliverable(
            f"{attempt} attempts failed, the last one with {error.code}: {error}",
            code="exhausted",
        )
    delay = pause(policy, attempt, error)
    if not deadline.allows(delay):
        return error
    counted = 0.0 if _asked(error) else delay
    if deadline.left <= counted and not throttled:
        return Undeliverable(
            f"{deadline.bound} leaves no time for another attempt; attempt {attempt} ended with "
            f"{error.code}: {error}",
            code="expired",
        )
    await task.journal.ended(
        error, delay, counted=None if throttled else counted, **task.unrecorded(answered=False)
    )
    raise Again(error, delay=delay)


def pause(policy: Retry, attempt: int, error: TaskError) -> float:
    """The seconds between `attempt`, which ended with `error`, and the next one.

    Exponential backoff with full jitter, so that replicas that failed together do not retry
    together; never less than the provider's `Retry-After`.
    """
    longest = min(policy.max_backoff, policy.backoff * 2 ** (attempt - 1))
    return max(random.uniform(0, longest), _asked(error))


def _asked(error: TaskError) -> float:
    """The seconds that a provider asked us to wait."""
    return (error.retry_after or 0.0) if isinstance(error, ModelError) else 0.0
