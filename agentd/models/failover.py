"""Several models for one call: the first choice, and those that stand in when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from agentd.errors import ModelError, NotCalled, Throttled
from agentd.models.estimate import expected
from agentd.models.port import ChatRequest, Completion, Model, ModelAttempt, Usage

# Seconds to wait for a slot, for a rate, or for an endpoint that rests, before the next is asked.
PATIENCE = 2.0
_SAME = 0.5  # seconds by which being free later does not count
# What one provider does not want to answer is not carried to another one.
_FINAL = ("model_refused",)

OnDelta = Callable[[str], None]


class FailoverModel:
    """Asks `models` in their order until one answers. Its name is that of the first.

    Any error of a model sends the request on to the next one, except a refusal by a content policy,
    and any error after the first piece of text reached `on_delta`.
    """

    def __init__(self, models: Sequence[Model]) -> None:
        self.models = tuple(models)
        self.name = self.models[0].name
        self.is_mock = self.models[0].is_mock

    def cost_of(self, usage: Usage) -> float | None:
        """USD for the dearest of them, of which the price is known; None if it is of none."""
        costs = (model.cost_of(usage) for model in self.models)
        return max((cost for cost in costs if cost is not None), default=None)

    async def close(self) -> None:
        """Closes the models."""
        for model in self.models:
            await model.close()

    async def complete(self, request: ChatRequest, on_delta: OnDelta | None = None) -> Completion:
        """See `models.port.Model`. Each but the last gets a part of the time, and the rest of it
        once it streams.

        Raises:
            ModelError: nobody answered; the text has each one's reason. A `NotCalled` if nobody was
                called.
        """
        return await _FailoverCall(self.models, request, on_delta).answer()


class _FailoverCall:
    """One request on its way from model to model."""

    def __init__(
        self, models: Sequence[Model], request: ChatRequest, on_delta: OnDelta | None
    ) -> None:
        self._models = models
        self._request = request
        self._on_delta = on_delta
        self._ends = asyncio.get_running_loop().time() + request.timeout
        self._failed: list[tuple[float, Model, ModelError]] = []
        self._attempts: list[ModelAttempt] = []
        self._streaming = False

    async def answer(self) -> Completion:
        last = len(self._models) - 1
        for number, model in enumerate(self._models):
            others = last - number
            completion = await self._try(model, others, wait=not others and not self._busy())
            if completion:
                return completion
        if last and (busy := self._busy()):
            # Nobody is better: the one that is free soonest gets what time is left.
            soon = min(free for free, _ in busy) + _SAME
            model = next(model for free, model in busy if free <= soon)
            completion = await self._try(model, 0, wait=True)
            if completion:
                return completion
        raise self._in_all()

    async def _try(self, model: Model, others: int, *, wait: bool) -> Completion | None:
        """The answer of one model, or None if it gave none; `others` come after it. Without `wait`
        it need not be waited for when it is busy.

        Raises:
            ModelError: it failed, and nobody else may be asked.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        if self._failed and began >= self._ends:
            return None
        try:
            completion = await self._ask(model, others, wait)
        except ModelError as error:
            self._failed.append((clock(), model, error))
            self._tell(self._failure(model, error, clock() - began))
            if self._streaming or error.code in _FINAL:
                raise self._in_all() from None
            return None
        attempt = ModelAttempt(model=model.name, seconds=clock() - began)
        if self._failed:
            completion = replace(completion, attempts=(*self._attempts, attempt))
        self._tell(replace(attempt, completion=completion))
        return completion

    async def _ask(self, model: Model, others: int, wait: bool) -> Completion:
        left = self._ends - asyncio.get_running_loop().time()
        # Two parts of the time for this one, and one for each that comes after it.
        share = left * 2 / (others + 2)
        patience = None if wait else min(PATIENCE, share)
        request = replace(self._request, timeout=left, patience=patience)
        deadline = asyncio.timeout(share if others else None)
        try:
            async with deadline:
                return await model.complete(request, self._hook(deadline))
        except TimeoutError:
            if not deadline.expired():
                raise
            what = f"{model.name}: no answer within {share:.3g} s, its part of the time"
            raise ModelError(what, code="model_timeout", retryable=True) from None

    def _hook(self, deadline: asyncio.Timeout) -> OnDelta | None:
        """Hands on what is streamed; from the first piece on, nobody else can answer."""
        on_delta = self._on_delta
        if on_delta is None:
            return None

        def hear(text: str) -> None:
            if not self._streaming:
                self._streaming = True
                if not deadline.expired():
                    deadline.reschedule(None)
            on_delta(text)

        return hear

    def _busy(self) -> list[tuple[float, Model]]:
        """Those that were not called because they rest or are full, and when they are free."""
        return [
            (since + (error.retry_after or 0.0), model)
            for since, model, error in self._failed
            if isinstance(error, NotCalled) and error.retryable
        ]

    def _failure(self, model: Model, error: ModelError, seconds: float) -> ModelAttempt:
        likely = model.cost_of(expected(self._request)) if error.may_cost else None
        return ModelAttempt(
            model=model.name,
            seconds=seconds,
            code=error.code,
            message=str(error),
            called=not isinstance(error, NotCalled),
            cost=likely,
        )

    def _tell(self, attempt: ModelAttempt) -> None:
        self._attempts.append(attempt)
        if self._request.on_attempt:
            self._request.on_attempt(attempt)

    def _in_all(self) -> ModelError:
        """All that went wrong, as one error: it may pass if any of them may."""
        errors = [error for *_, error in self._failed]
        if len(errors) == 1:
            return errors[0]
        passing = [error for error in errors if error.retryable]
        waits = [error.retry_after or 0.0 for error in passing]
        first = (passing or errors)[0]
        merged = _kind(errors)(
            "no model answered: " + "; ".join(map(str, errors)),
            code=first.code,
            retryable=bool(passing),
            status=first.status,
            retry_after=min(waits, default=0.0) or None,
        )
        merged.cost = sum(attempt.cost or 0.0 for attempt in self._attempts)
        return merged


def _kind(errors: Sequence[ModelError]) -> type[ModelError]:
    """If nobody was called, that is what is to be said."""
    if not all(isinstance(error, NotCalled) for error in errors):
        return ModelError
    throttled = any(isinstance(error, Throttled) for error in errors)
    return Throttled if throttled else NotCalled
