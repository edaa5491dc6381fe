"""One model call: every attempt is measured, and failed ones are recorded in the journal."""

from __future__ import annotations

import json
import logging
import secrets
import time
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
from agentd.telemetry import active
from agentd.telemetry.call_spans import CallSpans

log = logging.getLogger(__name__)


async def call(
    model: Model, request: ChatRequest, context: RunContext, on_delta: Callable[[str], None] | None
) -> Completion:
    """The completion. If one model failed and another answered, the journal says why.

    Raises:
        ModelError: as `Model.complete`.
    """
    report, began = _Report(context), time.monotonic()
    spans = None
    if active.tracer:
        spans = report.spans = CallSpans(active.tracer, request, on_delta)
        on_delta = spans.on_delta
    try:
        completion = await model.complete(
            replace(request, on_attempt=report.on_attempt, on_wait=report.on_wait), on_delta
        )
    except BaseException as error:
        context.spending.failed(error)
        if isinstance(error, ModelError):
            await report.end(model, time.monotonic() - began, code=error.code)
        elif spans:
            spans.broken_off(model.name)
        raise
    context.spending.called(completion)
    await report.end(model, time.monotonic() - began, completion)
    return completion


class _Report:
    """What becomes known of one call: its attempts, and what it waits for."""

    spans: CallSpans | None = None

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._attempts: list[ModelAttempt] = []
        self._awaited: set[str] = set()

    def on_attempt(self, attempt: ModelAttempt) -> None:
        measure(self._context.metrics, attempt)
        if self.spans:
            self.spans.ended(attempt)
        self._attempts.append(attempt)

    async def on_wait(self, reason: str) -> None:
        if reason not in self._awaited:
            self._awaited.add(reason)
            await _note_wait(reason, self._context)

    async def end(
        self, model: Model, seconds: float, completion: Completion | None = None, code: str = ""
    ) -> None:
        """Notes the attempts. A model that is no failover list reports none: the call is one."""
        if not self._attempts:
            self.on_attempt(
                ModelAttempt(model=model.name, seconds=seconds, code=code, completion=completion)
            )
        if len(self._attempts) > 1:
            await _note(self._attempts, self._context)


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
