"""One model call: every attempt is measured, and what was sent and answered goes on record."""

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
from agentd.run.spending import ModelCall
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
    report = _Report(model, request, context)
    if on_delta is not None and context.calls.is_on:
        on_delta = report.timed(on_delta)
    spans = None
    if active.tracer:
        spans = report.spans = CallSpans(active.tracer, request, on_delta)
        on_delta = spans.on_delta
    try:
        completion = await model.complete(
            replace(
                request,
                on_attempt=report.on_attempt,
                on_wait=report.on_wait,
                on_sent=report.on_sent,
            ),
            on_delta,
        )
    except BaseException as error:
        context.spending.failed(error)
        if isinstance(error, ModelError):
            await report.end(error)
        elif spans:
            spans.broken_off(model.name)
        raise
    context.spending.called(completion)
    await report.end(completion)
    return completion


class _Report:
    """What becomes known of one call: its attempts, and what it waits for."""

    spans: CallSpans | None = None

    def __init__(self, model: Model, request: ChatRequest, context: RunContext) -> None:
        self._model = model
        self._request = request
        self._context = context
        self._began = time.monotonic()
        self._first: float | None = None  # the seconds until the first piece of the answer
        self._sent: tuple[str, Mapping[str, Any]] = ("", {})
        self._attempts: list[tuple[ModelAttempt, str, Mapping[str, Any]]] = []
        self._awaited: set[str] = set()

    def timed(self, on_delta: Callable[[str], None]) -> Callable[[str], None]:
        """`on_delta`, which also notes the time of the first piece."""

        def note(text: str) -> None:
            if self._first is None:
                self._first = time.monotonic() - self._began
            on_delta(text)

        return note

    def on_sent(self, endpoint: str, parameters: Mapping[str, Any]) -> None:
        self._sent = endpoint, parameters

    def on_attempt(self, attempt: ModelAttempt) -> None:
        measure(self._context.metrics, attempt)
        if self.spans:
            self.spans.ended(attempt)
        self._attempts.append((attempt, *self._sent))
        self._sent = ("", {})

    async def on_wait(self, reason: str) -> None:
        if reason not in self._awaited:
            self._awaited.add(reason)
            await _note_wait(reason, self._context)

    async def end(self, answer: Completion | ModelError) -> None:
        """Notes the attempts. A model that is no failover list reports none: the call is one."""
        seconds = time.monotonic() - self._began
        if not self._attempts:
            self.on_attempt(_only_attempt(self._model.name, seconds, answer))
        if self._context.calls.is_on:
            self._context.calls.add(
                ModelCall(
                    name=self._model.name,
                    request=self._request,
                    seconds=seconds,
                    first_chunk=self._first,
                    attempts=self._attempts,
                    answer=answer,
                )
            )
        if len(self._attempts) > 1:
            await _note([attempt for attempt, *_ in self._attempts], self._context)


def _only_attempt(name: str, seconds: float, answer: Completion | ModelError) -> ModelAttempt:
    if isinstance(answer, ModelError):
        return ModelAttempt(model=name, seconds=seconds, code=answer.code)
    return ModelAttempt(model=name, seconds=seconds, completion=answer)


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
