"""A model with what its manifest says about calls: parameters, rates and a cache."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agentd.errors import NotCalled
from agentd.models.estimate import expected
from agentd.models.limits.cache import Cache, key_of
from agentd.models.limits.prompt_cache import marked
from agentd.models.limits.shared_rate import Reservation, SharedRate
from agentd.models.port import ChatRequest, Completion, Model, Usage


@dataclass(frozen=True, kw_only=True)
class CallOptions:
    """How a manifest wants a model to be called.

    Attributes:
        parameters: sent with each call; those of the agent or the sender take precedence.
        calls: the rates in which a call counts as one.
        tokens: the rate in which its tokens count, input and output.
        cache: where answers are stored.
        cache_name: what stands for the model in the keys of the cache.
        cache_seconds: how long an answer is used.
        prompt_cache: marks the prompt, so that the provider caches it.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    calls: Sequence[SharedRate] = ()
    tokens: SharedRate | None = None
    cache: Cache | None = None
    cache_name: str = ""
    cache_seconds: float = 0.0
    prompt_cache: bool = False


class ConfiguredModel:
    """Calls `model` as `options` say; itself a `Model`."""

    def __init__(self, model: Model, options: CallOptions) -> None:
        self.name = model.name
        self.is_mock = model.is_mock
        self.model = model
        self._options = options

    def cost_of(self, usage: Usage) -> float | None:
        """See `agentd.models.port.Model`."""
        return self.model.cost_of(usage)

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        """See `agentd.models.port.Model`. A cached answer is streamed in one piece."""
        options = self._options
        if options.parameters:
            request = replace(request, parameters={**options.parameters, **request.parameters})
        # The cache comes before the rates: an answer from it counts to none.
        if options.cache is None:
            return await self._call(request, on_delta)
        key = key_of(options.cache_name, request)
        known = await options.cache.find(key, options.cache_seconds)
        if known is not None:
            if on_delta and known.text:
                on_delta(known.text)
            return known
        completion = await self._call(request, on_delta)
        await options.cache.keep(key, completion, options.cache_seconds)
        return completion

    async def _call(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None
    ) -> Completion:
        """Waits until all rates allow the call, makes it, and corrects what it used of them."""
        if self._options.prompt_cache:
            request = replace(request, messages=marked(request.messages))
        if not self._options.calls and self._options.tokens is None:
            return await self.model.complete(request, on_delta)
        clock = asyncio.get_running_loop().time
        began = clock()
        taken: list[tuple[SharedRate, Reservation]] = []
        try:
            for rate, amount in self._amounts(request):
                wait = request.longest_wait - (clock() - began)
                taken.append((rate, await rate.take(amount, wait, self.name)))
            completion = await self.model.complete(request.after(clock() - began), on_delta)
        except NotCalled:
            # The provider was not called, so it counted nothing. After any other error it may
            # have counted the call, and the reservation stays.
            for rate, reservation in taken:
                rate.settle(reservation, 0)
            raise
        if self._options.tokens is not None and completion.usage:
            rate, reservation = taken[-1]
            rate.settle(reservation, completion.usage.total)
        return completion

    def _amounts(self, request: ChatRequest) -> list[tuple[SharedRate, float]]:
        """What a call takes of each rate. The rate of tokens is the last."""
        amounts: list[tuple[SharedRate, float]] = [(rate, 1) for rate in self._options.calls]
        if self._options.tokens is not None:
            amounts.append((self._options.tokens, expected(request).total))
        return amounts
