"""A model as a manifest lists it: with parameters, rates and a cache of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agentd.errors import NotCalled
from agentd.models.estimate import expected
from agentd.models.limits.cache import Cache, key_of
from agentd.models.limits.shared_rate import SharedRate, Taken
from agentd.models.port import ChatRequest, Completion, Model, Usage


@dataclass(frozen=True, kw_only=True)
class Terms:
    """On what terms a model is called.

    Attributes:
        parameters: sent with each call, unless the agent or the sender say otherwise.
        calls: the rates that a call counts to.
        tokens: the rate that its tokens count to, in and out.
        cache: where answers are kept, under the digest of `cached_as` and the request.
        cached_for: seconds.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    calls: Sequence[SharedRate] = ()
    tokens: SharedRate | None = None
    cache: Cache | None = None
    cached_as: str = ""
    cached_for: float = 0.0


class ListedModel:
    """Calls `model` on its terms; a port like any other model."""

    def __init__(self, model: Model, terms: Terms) -> None:
        self.name = model.name
        self.is_mock = model.is_mock
        self.model = model
        self._terms = terms

    def cost_of(self, usage: Usage) -> float | None:
        """See `agentd.models.port.Model`."""
        return self.model.cost_of(usage)

    async def close(self) -> None:
        """Closes the model."""
        await self.model.close()

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        """See `models.port.Model`; an answer given before to the same request is given again."""
        terms = self._terms
        if terms.parameters:
            request = replace(request, parameters={**terms.parameters, **request.parameters})
        if terms.cache is None:
            return await self._call(request, on_delta)
        key = key_of(terms.cached_as, request)
        known = await terms.cache.find(key, terms.cached_for)
        if known is not None:
            if on_delta and known.text:
                on_delta(known.text)
            return known
        completion = await self._call(request, on_delta)
        await terms.cache.keep(key, completion, terms.cached_for)
        return completion

    async def _call(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None
    ) -> Completion:
        if not self._terms.calls and self._terms.tokens is None:
            return await self.model.complete(request, on_delta)
        clock = asyncio.get_running_loop().time
        began = clock()
        taken: list[tuple[SharedRate, Taken]] = []
        try:
            for rate, amount in self._due(request):
                waited = clock() - began
                wait = min(request.timeout, request.patience or request.timeout) - waited
                taken.append((rate, await rate.take(amount, wait, self.name)))
            timely = replace(request, timeout=request.timeout - (clock() - began))
            completion = await self.model.complete(timely, on_delta)
        except NotCalled:
            for rate, share in taken:
                rate.settle(share, 0)
            raise
        if self._terms.tokens is not None and completion.usage:
            rate, share = taken[-1]
            rate.settle(share, completion.usage.total)
        return completion

    def _due(self, request: ChatRequest) -> list[tuple[SharedRate, float]]:
        """What a call takes of each rate; the tokens come last."""
        due: list[tuple[SharedRate, float]] = [(rate, 1) for rate in self._terms.calls]
        if self._terms.tokens is not None:
            due.append((self._terms.tokens, expected(request).total))
        return due
