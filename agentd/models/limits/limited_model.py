"""A model behind the limiter of its endpoint, and the limiters of one process."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from agentd.errors import ModelError
from agentd.models.limits.concurrency import Cause, Limiter
from agentd.models.port import ChatRequest, Completion, Model, Usage

if TYPE_CHECKING:
    from agentd.metrics import Metrics

# Other replicas receive the digest of an endpoint, and a reader could try keys until one fits.
# With so many rounds each try takes some milliseconds, and keys of providers have far too many
# possible values for that.
_ROUNDS = 20_000


class LimitedModel:
    """Calls `model` when the limiter of its endpoint gives it a slot; itself a `Model`."""

    def __init__(self, model: Model, limiter: Limiter) -> None:
        self.name = model.name
        self.is_mock = model.is_mock
        self.model = model
        self.limiter = limiter

    def cost_of(self, usage: Usage) -> float | None:
        """See `agentd.models.port.Model`."""
        return self.model.cost_of(usage)

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        """See `agentd.models.port.Model`. The wait for a slot is part of `request.timeout`."""
        limiter = self.limiter
        if request.on_wait and (obstacle := limiter.obstacle):
            await request.on_wait(f"{self.name}: {obstacle}")
        waited = await limiter.acquire(request.agent, request.longest_wait, self.name)
        try:
            if waited:  # `after` copies the request: not needed for the usual call, which did not
                request = request.after(waited)
            if request.on_sent:
                request.on_sent(limiter.name, request.parameters)
            began = asyncio.get_running_loop().time()
            try:
                completion = await self.model.complete(request, on_delta)
            except ModelError as error:
                limiter.failed(error, began)
                raise
            limiter.answered((request.agent, self.name), began)
            return completion
        finally:
            limiter.release()


class CooldownChannel(Protocol):
    """How replicas tell each other that an endpoint asked for a wait.

    An endpoint is named by a digest, from which its key cannot be read.
    """

    def announce(self, endpoint: str, seconds: float) -> None:
        """Sends a cooldown to the other replicas, without waiting; it may be lost."""
        ...

    def on_announce(self, listener: Callable[[str, float], None], /) -> None:
        """Calls `listener(endpoint, seconds)` for each cooldown that another replica sends."""
        ...


class Limiters:
    """One limiter for each endpoint; an endpoint is an address with a key."""

    def __init__(self) -> None:
        self._limiters: dict[tuple[str, str | None], Limiter] = {}
        self._by_digest: dict[str, Limiter] = {}
        self._cooldowns: CooldownChannel | None = None
        self._metrics: Metrics | None = None

    def of(self, base: str, key: str | None) -> Limiter:
        """The limiter of an endpoint. `base` is its URL, or the provider's name for litellm's."""
        if (base, key) not in self._limiters:
            digest = digest_of(base, key)
            on_cooldown = partial(self._on_cooldown, digest)
            limiter = Limiter(_name(base, digest if key else None), on_cooldown)
            self._limiters[base, key] = self._by_digest[digest] = limiter
            self._observe(limiter)
        return self._limiters[base, key]

    def share(self, cooldowns: CooldownChannel) -> None:
        """Makes a `Retry-After` count for all replicas, whichever of them received it."""
        self._cooldowns = cooldowns
        cooldowns.on_announce(self._on_announce)

    def measure(self, metrics: Metrics) -> None:
        """Exports limits, waiting calls and cooldowns as metrics from now on."""
        self._metrics = metrics
        for limiter in self._limiters.values():
            self._observe(limiter)

    def _observe(self, limiter: Limiter) -> None:
        if self._metrics:
            self._metrics.endpoint(
                limiter.name, limit=lambda: limiter.limit, waiting=lambda: limiter.waiting
            )

    def _on_cooldown(self, digest: str, cause: Cause, seconds: float, begins: bool) -> None:
        if self._metrics and begins:
            self._metrics.cooldown(self._by_digest[digest].name, cause)
        # Not "announced": replicas would send it back and forth without end. Not "unreachable":
        # the cause may be the network of this machine alone.
        if self._cooldowns and cause == "retry_after":
            self._cooldowns.announce(digest, seconds)

    def _on_announce(self, digest: str, seconds: float) -> None:
        limiter = self._by_digest.get(digest)
        if limiter is not None:
            limiter.cool_down(seconds)


def digest_of(base: str, key: str | None) -> str:
    """A name for an endpoint, from which its key cannot be read."""
    secret = f"{base}\n{key or ''}".encode()
    return hashlib.pbkdf2_hmac("sha256", secret, b"agentd endpoint", _ROUNDS, 16).hex()


def _name(base: str, digest: str | None) -> str:
    """An endpoint as people see it: no user, password or query, and which key by its digest."""
    scheme, slashes, rest = base.partition("?")[0].rpartition("://")
    shown = scheme + slashes + rest.rpartition("@")[2]
    return f"{shown} (key {digest[:6]})" if digest else shown
