"""A configured model adds its parameters, waits for its rates, and uses its cache."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agentd.errors import ModelError, NotCalled, Throttled
from agentd.manifest.rate import Allowance
from agentd.models.limits.cache import Cache
from agentd.models.limits.configured_model import CallOptions, ConfiguredModel
from agentd.models.limits.shared_rate import LocalWindow, SharedRate
from agentd.models.port import ChatRequest, Completion, Usage
from agentd.testing.virtual_time import in_virtual_time

ANSWER = Completion("yes", "openai/x", "stop", usage=Usage(30, 10))
MESSAGES = ({"role": "user", "content": "hello"},)


class Provider:
    """A model that records its requests, and answers or raises `error`."""

    name = "openai/x"
    is_mock = False

    def __init__(self) -> None:
        self.requests: list[ChatRequest] = []
        self.error: ModelError | None = None

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        self.requests.append(request)
        if self.error:
            raise self.error
        if on_delta:
            on_delta("y")
            on_delta("es")
        return ANSWER

    def cost_of(self, usage: Usage) -> float | None:
        return usage.total * 0.5


class Memory:
    """A store of answers that keeps everything."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}

    async def get(self, key: str, seconds: float) -> bytes | None:
        del seconds
        return self.stored.get(key)

    async def put(self, key: str, data: bytes, seconds: float) -> None:
        del seconds
        self.stored[key] = data


def rate(count: int) -> SharedRate:
    window = LocalWindow()
    clock = asyncio.get_running_loop().time
    return SharedRate(Allowance(count, 60.0), "limits.rate", lambda: window, clock=clock)


def request(timeout: float = 5.0, **parameters: Any) -> ChatRequest:
    return ChatRequest(MESSAGES, parameters, timeout)


async def test_it_answers_as_its_model_does() -> None:
    pieces: list[str] = []
    model = ConfiguredModel(Provider(), CallOptions())

    assert await model.complete(request(), pieces.append) is ANSWER
    assert (model.name, model.is_mock, pieces) == ("openai/x", False, ["y", "es"])
    assert model.cost_of(Usage(3, 1)) == 2.0


async def test_parameters_of_the_request_take_precedence_over_those_of_the_model() -> None:
    provider = Provider()
    model = ConfiguredModel(provider, CallOptions(parameters={"top_k": 1, "seed": 7}))
    await model.complete(request(top_k=5))

    assert provider.requests[0].parameters == {"top_k": 5, "seed": 7}


def cached(provider: Provider, memory: Memory, name: str = "openai/x") -> ConfiguredModel:
    cache = Cache()
    cache.share(memory)
    return ConfiguredModel(provider, CallOptions(cache=cache, cache_name=name, cache_seconds=60.0))


async def test_a_cached_answer_is_not_paid_again_and_streams_in_one_piece() -> None:
    provider, memory = Provider(), Memory()
    model = cached(provider, memory)
    await model.complete(request())
    pieces: list[str] = []
    known = await model.complete(request(), pieces.append)

    assert (known.text, known.cached, known.cost, pieces) == ("yes", True, 0.0, ["yes"])
    assert len(provider.requests) == 1


async def test_models_of_other_names_do_not_share_answers() -> None:
    provider, memory = Provider(), Memory()
    for name in ("openai/x", "openai/y"):
        await cached(provider, memory, name).complete(request())

    assert len(provider.requests) == 2


async def test_parameters_of_the_model_are_part_of_the_cached_request() -> None:
    provider, memory = Provider(), Memory()
    cache = Cache()
    cache.share(memory)
    for seed in (1, 2, 1):
        options = CallOptions(parameters={"seed": seed}, cache=cache, cache_seconds=60.0)
        await ConfiguredModel(provider, options).complete(request())

    assert len(provider.requests) == 2


async def test_an_error_is_not_cached() -> None:
    provider, memory = Provider(), Memory()
    provider.error = ModelError("no", code="model_overloaded")
    with pytest.raises(ModelError):
        await cached(provider, memory).complete(request())

    assert memory.stored == {}


@in_virtual_time
async def test_a_cached_answer_counts_in_no_rate() -> None:
    provider, cache = Provider(), Cache()
    cache.share(Memory())
    options = CallOptions(calls=[rate(1)], cache=cache, cache_seconds=60.0)
    for _ in range(3):
        await ConfiguredModel(provider, options).complete(request())

    assert len(provider.requests) == 1


@in_virtual_time
async def test_the_wait_for_a_rate_is_part_of_the_timeout() -> None:
    provider = Provider()
    model = ConfiguredModel(provider, CallOptions(calls=[rate(1)]))
    await model.complete(request(timeout=100.0))
    await model.complete(request(timeout=100.0))

    waited = asyncio.get_running_loop().time()
    assert waited >= 60
    assert provider.requests[1].timeout == pytest.approx(100.0 - waited)


@in_virtual_time
async def test_a_call_with_patience_does_not_wait_longer_than_that() -> None:
    model = ConfiguredModel(Provider(), CallOptions(calls=[rate(1)]))
    await model.complete(request())
    with pytest.raises(Throttled):
        await model.complete(ChatRequest(MESSAGES, {}, 100.0, patience=2.0))

    assert asyncio.get_running_loop().time() == 0


@in_virtual_time
async def test_a_call_needs_room_in_every_rate() -> None:
    provider = Provider()
    model = ConfiguredModel(provider, CallOptions(calls=[rate(5), rate(2)]))
    for _ in range(2):
        await model.complete(request())
    with pytest.raises(Throttled):
        await model.complete(request())

    assert len(provider.requests) == 2


@in_virtual_time
async def test_a_call_that_one_rate_refuses_takes_nothing_of_the_others() -> None:
    wide, narrow = rate(2), rate(1)
    model = ConfiguredModel(Provider(), CallOptions(calls=[wide, narrow]))
    await model.complete(request())
    with pytest.raises(Throttled):
        await model.complete(request())

    await wide.take(1, 1.0, "openai/x")


@in_virtual_time
async def test_tokens_are_corrected_to_what_the_provider_counted() -> None:
    tokens = rate(2_000)
    model = ConfiguredModel(Provider(), CallOptions(tokens=tokens))
    for _ in range(3):  # each is estimated at more than a thousand, and takes 40
        await model.complete(request())

    assert (await tokens.take(1_880, 1.0, "openai/x")).amount == 1_880
    with pytest.raises(Throttled):
        await tokens.take(1, 1.0, "openai/x")


@in_virtual_time
async def test_what_was_not_called_takes_nothing_of_a_rate() -> None:
    provider, limited = Provider(), rate(1)
    model = ConfiguredModel(provider, CallOptions(calls=[limited]))
    provider.error = NotCalled("busy", code="model_timeout")
    with pytest.raises(NotCalled):
        await model.complete(request())
    provider.error = None

    assert await model.complete(request()) is ANSWER


@in_virtual_time
async def test_a_call_that_failed_at_the_provider_counts() -> None:
    provider = Provider()
    model = ConfiguredModel(provider, CallOptions(calls=[rate(1)]))
    provider.error = ModelError("no", code="model_overloaded")
    with pytest.raises(ModelError):
        await model.complete(request())
    with pytest.raises(Throttled):
        await model.complete(request())

    assert len(provider.requests) == 1


@in_virtual_time
async def test_a_prompt_is_marked_for_the_provider_and_not_for_the_cache_of_answers() -> None:
    provider, cache = Provider(), Cache()
    cache.share(Memory())
    options = CallOptions(prompt_cache=True, cache=cache, cache_name="x", cache_seconds=60)
    await ConfiguredModel(provider, options).complete(request())
    [sent] = provider.requests
    mark = {"type": "ephemeral"}
    assert sent.messages == [
        {"role": "user", "content": [{"type": "text", "text": "hello", "cache_control": mark}]}
    ]
    plain = CallOptions(cache=cache, cache_name="x", cache_seconds=60)
    assert (await ConfiguredModel(provider, plain).complete(request())).cached
