"""One model call: every attempt is measured, and failed ones are recorded in the journal."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from agentd.errors import BusError, DecodeError, ModelError
from agentd.metrics import Metrics
from agentd.models.ending import accepted
from agentd.models.failures import Failures
from agentd.models.port import (
    RECORDED,
    ChatRequest,
    Completion,
    Model,
    ModelAttempt,
    Usage,
)
from agentd.queue.journal import MODEL_AWAITED, MODEL_FAILED
from agentd.run.context import RunContext

log = logging.getLogger(__name__)


async def call(
    model: Model, request: ChatRequest, context: RunContext, on_delta: Callable[[str], None] | None
) -> Completion:
    """The completion. If one model failed and another answered, the journal says why.

    Raises:
        ModelError: as `Model.complete`.
    """
    attempts: list[ModelAttempt] = []
    awaited: set[str] = set()

    async def on_wait(reason: str) -> None:
        if reason not in awaited:
            awaited.add(reason)
            await _note_wait(reason, context)

    def on_attempt(attempt: ModelAttempt) -> None:
        measure(context.metrics, attempt)
        attempts.append(attempt)

    try:
        completion = await model.complete(
            replace(request, on_attempt=on_attempt, on_wait=on_wait), on_delta
        )
    except BaseException as error:
        context.spending.failed(error)
        if isinstance(error, ModelError):
            await _note(attempts, context)
        raise
    context.spending.called(completion)
    await _note(attempts, context)
    return completion


def from_journal(recorded: Mapping[str, Any]) -> Completion | None:
    """A completion from the journal, where `asdict` wrote it; None if somebody else wrote it.

    Raises:
        ModelError: it cannot be used; an older version of agentd recorded it nevertheless.
    """
    try:
        completion = RECORDED.parse(json.dumps(recorded).encode())
    except DecodeError as error:
        log.warning("a turn of the model in the journal is not used: %s", error)
        return None
    return accepted(completion, Failures(completion.model))


def measure(metrics: Metrics, attempt: ModelAttempt) -> None:
    """Adds an attempt to the metrics."""
    completion = attempt.completion
    if completion is None:
        metrics.model_call(attempt.model, attempt.code, attempt.seconds)
        return
    usage = completion.usage or Usage(0, 0)
    metrics.model_call(
        attempt.model,
        "cached" if completion.cached else "success",
        attempt.seconds,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost=completion.cost,
    )


async def _note_wait(reason: str, context: RunContext) -> None:
    """Records what a call waits for: whoever waits for the answer can see it."""
    log.warning("a task waits: %s", reason)
    try:
        await context.journal().note(MODEL_AWAITED, mark=secrets.token_hex(4), reason=reason)
    except BusError as error:
        log.warning("the wait was not recorded: %s", error)


async def _note(attempts: list[ModelAttempt], context: RunContext) -> None:
    """Records the failures of several models. The failure of a single model is recorded anyway, as
    the failure of the attempt or of the task."""
    if len(attempts) == 1:
        return
    try:
        for attempt in attempts:
            if attempt.code and attempt.called:
                await context.journal().note(
                    MODEL_FAILED, mark=secrets.token_hex(4), **as_payload(attempt)
                )
    except BusError as error:
        # Better an incomplete journal than a lost answer.
        log.warning("the failure of a model was not recorded: %s", error)


def as_payload(attempt: ModelAttempt) -> dict[str, object]:
    """An attempt as it appears in messages; `latency` in milliseconds."""
    shown: dict[str, object] = {
        "model": attempt.model,
        "latency": round(attempt.seconds * 1000, 1),
    }
    if attempt.code:
        shown |= {"code": attempt.code, "message": attempt.message}
    if attempt.cost:
        shown["cost"] = attempt.cost
    return shown
