"""Several models for one call: the first choice, then the others in order when one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from agentd.errors import ModelError, NotCalled, Throttled
from agentd.models.estimate import expected
from agentd.models.port import ChatRequest, Completion, Model, ModelAttempt, Usage

# Seconds to wait for a slot, a rate or the end of a cooldown, before the next model is tried.
PATIENCE = 2.0
# Models that are free within so many seconds of each other count as free at the same time, and the
# order of the list decides.
_SAME = 0.5
# The answer that one provider's content policy refuses is not requested from another provider.
_FINAL = ("model_refused",)

OnDelta = Callable[[str], None]


class FailoverModel:
    """Calls `models` in their order until one answers. Its name is that of the first.

    After any error the next model is called, except after a refusal by a content policy, and after
    an error that comes when a piece of text has already reached `on_delta`.
    """

    def __init__(self, models: Sequence[Model]) -> None:
        self.models = tuple(models)
        self.name = self.models[0].name
        self.is_mock = self.models[0].is_mock

    def cost_of(self, usage: Usage) -> float | None:
        """USD at the highest of the known prices; None if no price is known."""
        costs = (model.cost_of(usage) for model in self.models)
        return max((cost for cost in costs if cost is not None), default=None)

    async def complete(self, request: ChatRequest, on_delta: OnDelta | None = None) -> Completion:
        """See `agentd.models.port.Model`.

        Each model but the last gets a share of the time; a model that streams gets all the rest.

        Raises:
            ModelError: no model answered; the text has the reason of each. It is a `NotCalled` if
                no provider was called.
        """
        return await _FailoverCall(self.models, request, on_delta).answer()


class _FailoverCall:
    """One request, from the first model to an answer or to the last error."""

    def __init__(
        self, models: Sequence[Model], request: ChatRequest, on_delta: OnDelta | None
    ) -> None:
        self._models = models
        self._request = request
        self._on_delta = on_delta
        self._ends = asyncio.get_running_loop().time() + request.timeout
        self._failed: list[tuple[float, Model, ModelError]] = []  # with the time of the failure
        self._attempts: list[ModelAttempt] = []
        self._streaming = False

    async def answer(self) -> Completion:
        last = len(self._models) - 1
        for number, model in enumerate(self._models):
            others = last - number
            # If an earlier model is only busy, the last one gets no more patience than it had: it
            # may be the earlier one that is free first.
            completion = await self._try(model, others, wait=not others and not self._busy())
            if completion:
                return completion
        if last and (busy := self._busy()):
            # All models failed and some were only busy. The first to be free gets the rest of the
            # time.
            soon = min(free for free, _ in busy) + _SAME
            model = next(model for free, model in busy if free <= soon)
            completion = await self._try(model, 0, wait=True)
            if completion:
                return completion
        raise self._merged_error()

    async def _try(self, model: Model, others: int, *, wait: bool) -> Completion | None:
        """The answer of one model, of which `others` come later in the list; None if it failed.

        Without `wait`, a busy model is waited for no longer than `PATIENCE`.

        Raises:
            ModelError: it failed, and no other model may be called.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        if self._failed and began >= self._ends:
            return None
        try:
            completion = await self._call(model, others, wait)
        except ModelError as error:
            self._failed.append((clock(), model, error))
            self._report(self._failed_attempt(model, error, clock() - began))
            if self._streaming or error.code in _FINAL:
                raise self._merged_error() from None
            return None
        attempt = ModelAttempt(model=model.name, seconds=clock() - began)
        if self._failed:
            completion = replace(completion, attempts=(*self._attempts, attempt))
        self._report(replace(attempt, completion=completion))
        return completion

    async def _call(self, model: Model, others: int, wait: bool) -> Completion:
        left = self._ends - asyncio.get_running_loop().time()
        # Two shares of the time for this model, and one for each that comes after it.
        share = left * 2 / (others + 2)
        patience = None if wait else min(PATIENCE, share)
        request = replace(self._request, timeout=left, patience=patience)
        # `request.timeout` is not the share: a model that begins to stream may use all of it.
        deadline = asyncio.timeout(share if others else None)
        try:
            async with deadline:
                return await model.complete(request, self._forward(deadline))
        except TimeoutError:
            if not deadline.expired():
                raise
            text = f"{model.name}: no answer within {share:.3g} s, its share of the time"
            raise ModelError(text, code="model_timeout", retryable=True) from None

    def _forward(self, deadline: asyncio.Timeout) -> OnDelta | None:
        """Passes streamed text on. The first piece fixes the model, so it lifts the deadline."""
        on_delta = self._on_delta
        if on_delta is None:
            return None

        def forward(text: str) -> None:
            if not self._streaming:
                self._streaming = True
                # `reschedule` raises an error if the deadline has passed in this very moment.
                if not deadline.expired():
                    deadline.reschedule(None)
            on_delta(text)

        return forward

    def _busy(self) -> list[tuple[float, Model]]:
        """The models that were not called, but can be later, each with the time when it is free."""
        return [
            (since + (error.retry_after or 0.0), model)
            for since, model, error in self._failed
            if isinstance(error, NotCalled) and error.retryable
        ]

    def _failed_attempt(self, model: Model, error: ModelError, seconds: float) -> ModelAttempt:
        estimate = model.cost_of(expected(self._request)) if error.may_cost else None
        return ModelAttempt(
            model=model.name,
            seconds=seconds,
            code=error.code,
            message=str(error),
            called=not isinstance(error, NotCalled),
            cost=estimate,
        )

    def _report(self, attempt: ModelAttempt) -> None:
        self._attempts.append(attempt)
        if self._request.on_attempt:
            self._request.on_attempt(attempt)

    def _merged_error(self) -> ModelError:
        """All errors as one. It is retryable if one of them is; a single error stays as it is."""
        errors = [error for *_, error in self._failed]
        if len(errors) == 1:
            return errors[0]
        retryable = [error for error in errors if error.retryable]
        waits = [error.retry_after or 0.0 for error in retryable]
        first = (retryable or errors)[0]
        merged = _kind(errors)(
            "no model answered: " + "; ".join(map(str, errors)),
            code=first.code,
            retryable=bool(retryable),
            status=first.status,
            retry_after=min(waits, default=0.0) or None,
        )
        merged.cost = sum(attempt.cost or 0.0 for attempt in self._attempts)
        return merged


def _kind(errors: Sequence[ModelError]) -> type[ModelError]:
    """The class of the merged error.

    If no provider was called, the task may simply wait for its turn; see `NotCalled`, `Throttled`.
    """
    if not all(isinstance(error, NotCalled) for error in errors):
        return ModelError
    throttled = any(isinstance(error, Throttled) for error in errors)
    return Throttled if throttled else NotCalled
