"""Several models for one call: the first choice, then the others in order when one fails."""

from __future__ import annotations

import asyncio
import random
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
# Seconds between two looks for a server that is not there, doubling, each with jitter.
_FIRST_LOOK, _LONGEST_LOOK = 0.5, 5.0
# The answer that one provider's content policy refuses is not requested from another provider.
_FINAL = ("model_refused",)

OnDelta = Callable[[str], None]


class FailoverModel:
    """Calls `models` in their order until one answers. Its name is that of the first.

    After any error the next model is called, except after a refusal by a content policy, and after
    an error that comes when a piece of text has already reached `on_delta`. If all servers that
    could answer are away (no connection, or a 503), they are waited for.
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
        self._on_wait = request.on_wait

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
        return await self._when_available()

    async def _when_available(self) -> Completion:
        """The answer of the first server that is there again, within the time of the call.

        A server that is started again or loads its model comes back by itself. Attempts of the
        task would be used up before.

        Raises:
            ModelError: none came back in time, or one that is there failed in another way.
        """
        clock, pause = asyncio.get_running_loop().time, _FIRST_LOOK
        while (left := self._ends - clock()) > 0 and (away := self._away()):
            if self._request.on_wait:
                await self._request.on_wait(str(self._merged_error()))
            self._on_wait = None  # the limiters of these servers would say the same again
            wait = pause * random.uniform(0.5, 1)
            await asyncio.sleep(min(left, wait))
            pause = min(_LONGEST_LOOK, 2 * pause)
            for model in away if wait < left else ():
                completion = await self._try(model, 0, wait=True)
                if completion:
                    return completion
        raise self._merged_error()

    def _away(self) -> list[Model]:
        """The models whose servers are away; none if another model may answer the next attempt."""
        if any(error.retryable and not error.unavailable for *_, error in self._failed):
            return []
        return [model for _, model, error in self._failed if error.unavailable]

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
            if self._is_news(model, error):
                self._report(self._failed_attempt(model, error, clock() - began))
            if self._streaming or error.code in _FINAL:
                raise self._merged_error() from None
            return None
        seconds = clock() - began
        if self._attempts:
            attempt = ModelAttempt(model=model.name, seconds=seconds)
            completion = replace(completion, attempts=(*self._attempts, attempt))
        self._report(ModelAttempt(model=model.name, seconds=seconds, completion=completion))
        return completion

    def _is_news(self, model: Model, error: ModelError) -> bool:
        """Notes a failure; False if the server of this model is still away."""
        failure = (asyncio.get_running_loop().time(), model, error)
        for index, (_, known, earlier) in enumerate(self._failed):
            if known is model and earlier.unavailable:
                self._failed[index] = failure
                return not error.unavailable
        self._failed.append(failure)
        return True

    async def _call(self, model: Model, others: int, wait: bool) -> Completion:
        if wait and not others and not self._failed:  # a model that is alone gets all the time
            return await model.complete(self._request, self._forward())
        left = self._ends - asyncio.get_running_loop().time()
        # Two shares of the time for this model, and one for each that comes after it.
        share = left * 2 / (others + 2)
        patience = None if wait else min(PATIENCE, share)
        on_wait = self._on_wait if wait else None
        request = replace(self._request, timeout=left, patience=patience, on_wait=on_wait)
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

    def _forward(self, deadline: asyncio.Timeout | None = None) -> OnDelta | None:
        """Passes streamed text on. The first piece fixes the model, so it lifts the deadline."""
        on_delta = self._on_delta
        if on_delta is None:
            return None

        def forward(text: str) -> None:
            if not self._streaming:
                self._streaming = True
                # `reschedule` raises an error if the deadline has passed in this very moment.
                if deadline and not deadline.expired():
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
        estimate = error.cost
        if estimate is None and error.may_cost:
            estimate = model.cost_of(expected(self._request))
        return ModelAttempt(
            model=model.name,
            seconds=seconds,
            code=error.code,
            message=str(error),
            called=not isinstance(error, NotCalled),
            cost=estimate,
            answered=error.may_cost,
            usage=error.usage,
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
        merged.answered = any(error.may_cost for error in errors)
        merged.usage = _usage(errors)
        return merged


def _usage(errors: Sequence[ModelError]) -> Usage | None:
    """The tokens of all calls that failed; None if those of one are not known."""
    known = [error.usage for error in errors if error.may_cost]
    return sum(known, Usage(0, 0)) if known and None not in known else None


def _kind(errors: Sequence[ModelError]) -> type[ModelError]:
    """The class of the merged error.

    If no provider was called, the task may simply wait for its turn; see `NotCalled`, `Throttled`.
    """
    if not all(isinstance(error, NotCalled) for error in errors):
        return ModelError
    throttled = any(isinstance(error, Throttled) for error in errors)
    return Throttled if throttled else NotCalled
