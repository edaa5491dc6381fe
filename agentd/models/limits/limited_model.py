"""A model behind the limiter of its endpoint, and the limiters of one process."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from agentd.errors import ModelError
from agentd.models.limits.concurrency import Cause, Limiter
from agentd.models.port import ChatRequest, Completion, Model, Usage

if TYPE_CHECKING:
    from agentd.metrics import Metrics

# Whoever hears a digest could try keys on it. This makes each guess some milliseconds long, which
# no key of a provider comes near to.
_ROUNDS = 20_000


class LimitedModel:
    """Calls `model` when its endpoint's limiter gives it a slot; a port like any other model."""

    def __init__(self, model: Model, limiter: Limiter) -> None:
        self.name = model.name
        self.is_mock = model.is_mock
        self.model = model
        self.limiter = limiter

    def cost_of(self, usage: Usage) -> float | None:
        """See `agentd.models.port.Model`."""
        return self.model.cost_of(usage)

    async def close(self) -> None:
        """Closes the model."""
        await self.model.close()

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        """See `agentd.models.port.Model`; the wait for a slot is part of `request.timeout`."""
        limiter = self.limiter
        patience = min(request.timeout, request.patience or request.timeout)
        waited = await limiter.enter(request.agent, patience, self.name)
        try:
            if waited:
                request = replace(request, timeout=request.timeout - waited)
            began = asyncio.get_running_loop().time()
            try:
                completion = await self.model.complete(request, on_delta)
            except ModelError as error:
                limiter.failed(error, began)
                raise
            limiter.answered((request.agent, self.name), began)
            return completion
        finally:
            limiter.leave()


class CooldownChannel(Protocol):
    """How replicas tell one another which endpoint asked to be left alone.

    Endpoints go by a digest, which does not tell their key.
    """

    def announce(self, endpoint: str, seconds: float) -> None:
        """Tells the others, now and without waiting; none hears what cannot be told."""
        ...

    def on_announce(self, heard: Callable[[str, float], None]) -> None:
        """Calls `heard(endpoint, seconds)` for what the others tell."""
        ...


class Limiters:
    """One limiter for each endpoint, which is an address with a key."""

    def __init__(self) -> None:
        self._limiters: dict[tuple[str, str | None], Limiter] = {}
        self._by_digest: dict[str, Limiter] = {}
        self._cooldowns: CooldownChannel | None = None
        self._metrics: Metrics | None = None

    def of(self, base: str, key: str | None) -> Limiter:
        """The limiter of an endpoint. `base` is its URL, or the provider's name for litellm's."""
        if (base, key) not in self._limiters:
            digest = digest_of(base, key)
            limiter = Limiter(_name(base, digest if key else None), partial(self._on_rest, digest))
            self._limiters[base, key] = self._by_digest[digest] = limiter
            self._show(limiter)
        return self._limiters[base, key]

    def share(self, cooldowns: CooldownChannel) -> None:
        """From now on a `Retry-After` counts for all replicas, whichever of them got it."""
        self._cooldowns = cooldowns
        cooldowns.on_announce(self._on_announce)

    def measure(self, metrics: Metrics) -> None:
        """From now on limits, waiting calls and cooldowns are metrics."""
        self._metrics = metrics
        for limiter in self._limiters.values():
            self._show(limiter)

    def _show(self, limiter: Limiter) -> None:
        if self._metrics:
            self._metrics.endpoint(
                limiter.name, limit=lambda: limiter.limit, waiting=lambda: limiter.waiting
            )

    def _on_rest(self, digest: str, cause: Cause, seconds: float, begins: bool) -> None:
        if self._metrics and begins:
            self._metrics.cooldown(self._by_digest[digest].name, cause)
        # Not what others have told, which would go round for ever, nor what may be our network.
        if self._cooldowns and cause == "retry_after":
            self._cooldowns.announce(digest, seconds)

    def _on_announce(self, digest: str, seconds: float) -> None:
        limiter = self._by_digest.get(digest)
        if limiter is not None:
            limiter.rest(seconds)


def digest_of(base: str, key: str | None) -> str:
    """Names an endpoint without telling its key."""
    secret = f"{base}\n{key or ''}".encode()
    return hashlib.pbkdf2_hmac("sha256", secret, b"agentd endpoint", _ROUNDS, 16).hex()


def _name(base: str, digest: str | None) -> str:
    """The endpoint for people: without what may be a secret, apart from others of its address."""
    scheme, slashes, rest = base.partition("?")[0].rpartition("://")
    shown = scheme + slashes + rest.rpartition("@")[2]
    return f"{shown} (key {digest[:6]})" if digest else shown
