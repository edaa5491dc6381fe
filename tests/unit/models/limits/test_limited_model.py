"""A limited model answers as the model does, and its endpoint's news reach replicas and metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agentd.errors import ModelError
from agentd.metrics import Metrics
from agentd.models.failures import Failures
from agentd.models.limits.concurrency import MISSES, Limiter
from agentd.models.limits.limited_model import LimitedModel, Limiters
from agentd.models.port import ChatRequest, Completion, Model, Usage
from agentd.testing import virtual_time

ANSWER = Completion(text="yes", model="openai/x", finish_reason="stop")
FAILURES = Failures("openai/x")
BASE, KEY = "http://stub/v1", "sk-aVerySecretKey123"


class Replies:
    """A model whose calls end in what the test says, after some seconds."""

    name = "openai/x"
    is_mock = False

    def __init__(self, *ends: Completion | BaseException, seconds: float = 0.0) -> None:
        self.ends = list(ends)
        self.seconds = seconds
        self.timeouts: list[float] = []
        self.closed = False

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        self.timeouts.append(request.timeout)
        if self.seconds:
            await asyncio.sleep(self.seconds)
        end = self.ends.pop(0) if self.ends else ANSWER
        if isinstance(end, BaseException):
            raise end
        if on_delta:
            on_delta(end.text)
        return end

    def cost_of(self, usage: Usage) -> float | None:
        return usage.total * 0.5

    async def close(self) -> None:
        self.closed = True


class Wire:
    """Cooldowns of replicas in one process."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float]] = []
        self.heard: list[Callable[[str, float], None]] = []

    def announce(self, endpoint: str, seconds: float) -> None:
        self.told.append((endpoint, seconds))
        for heard in self.heard:
            heard(endpoint, seconds)

    def on_announce(self, heard: Callable[[str, float], None]) -> None:
        self.heard.append(heard)


async def ask(model: Model, *, timeout: float = 60.0) -> Completion:
    return await model.complete(ChatRequest((), {}, timeout, agent="a"))


def wait(seconds: float) -> ModelError:
    return FAILURES.error("model_rate_limited", "wait", status=429, retry_after=seconds)


async def test_it_answers_as_the_model_does() -> None:
    inner = Replies()
    model = LimitedModel(inner, Limiters().of(BASE, None))
    pieces: list[str] = []
    assert await model.complete(ChatRequest((), {}, 5), pieces.append) is ANSWER
    assert (model.name, model.is_mock, pieces) == ("openai/x", False, ["yes"])
    assert model.cost_of(Usage(3, 1)) == 2.0
    await model.close()
    assert inner.closed


@pytest.mark.parametrize("end", [wait(0.0), ZeroDivisionError(), asyncio.CancelledError()])
async def test_whatever_ends_a_call_gives_its_slot_back(end: BaseException) -> None:
    model = LimitedModel(Replies(end), Limiters().of(BASE, None))
    with pytest.raises(type(end)):
        await model.complete(ChatRequest((), {}, 5))
    assert model.limiter.in_flight == 0


def test_the_wait_is_part_of_the_deadline() -> None:
    async def story() -> None:
        inner = Replies(seconds=2)
        model = LimitedModel(inner, Limiter("x", lambda *_: None, most=1))
        await asyncio.gather(ask(model, timeout=10), ask(model, timeout=10), ask(model, timeout=9))
        assert inner.timeouts == [10, 8, 5]

    virtual_time.run(story)


def test_a_retry_after_counts_for_every_replica() -> None:
    async def story() -> None:
        wire, metrics = Wire(), Metrics()
        here, there = Limiters(), Limiters()
        for limiters in (here, there):
            limiters.share(wire)
        there.measure(metrics)
        asked = LimitedModel(Replies(wait(7)), here.of(BASE, KEY))
        other = LimitedModel(Replies(), there.of(BASE, KEY))
        another_key = LimitedModel(Replies(), there.of(BASE, "sk-another"))
        with pytest.raises(ModelError):
            await ask(asked)
        assert (await ask(another_key)) is ANSWER
        assert asyncio.get_running_loop().time() == 0
        with pytest.raises(ModelError) as caught:
            await ask(other, timeout=5)
        assert (caught.value.code, caught.value.retry_after) == ("model_rate_limited", 7)
        await asyncio.gather(ask(asked), ask(other))
        assert asyncio.get_running_loop().time() == pytest.approx(7)
        assert len(wire.told) == 1
        assert KEY not in str(wire.told)
        name = there.of(BASE, KEY).name
        cooldowns = "agentd_model_cooldowns_total"
        assert value(metrics, cooldowns, endpoint=name, cause="announced") == 1

    virtual_time.run(story)


def test_what_may_be_our_own_network_is_not_announced() -> None:
    async def story() -> None:
        wire, limiters = Wire(), Limiters()
        limiters.share(wire)
        gone = FAILURES.error("model_overloaded", "no connection")
        model = LimitedModel(Replies(*[gone] * MISSES), limiters.of(BASE, None))
        for _ in range(MISSES):
            with pytest.raises(ModelError):
                await ask(model)
        with pytest.raises(ModelError) as caught:
            await ask(model, timeout=0.01)
        assert (caught.value.code, caught.value.retryable) == ("model_overloaded", True)
        assert caught.value.retry_after
        assert wire.told == []

    virtual_time.run(story)


def test_what_it_does_can_be_read() -> None:
    async def story() -> None:
        metrics, limiters = Metrics(), Limiters()
        model = LimitedModel(Replies(seconds=1), limiters.of(BASE, KEY))
        limiters.measure(metrics)
        name = model.limiter.name
        assert value(metrics, "agentd_model_limit", endpoint=name) == 10_000
        refused = FAILURES.error("model_rate_limited", "no", status=429)
        for _ in range(12):
            await asyncio.sleep(0.1)
            model.limiter.failed(refused, asyncio.get_running_loop().time())
        calls = [asyncio.create_task(ask(model)) for _ in range(3)]
        await asyncio.sleep(0.5)
        assert value(metrics, "agentd_model_limit", endpoint=name) == 1
        assert value(metrics, "agentd_model_waiting", endpoint=name) == 2
        await asyncio.gather(*calls)

    virtual_time.run(story)


def test_replicas_agree_on_endpoints_without_telling_keys() -> None:
    first, second = Limiters(), Limiters()
    limiters = [first.of(BASE, KEY), second.of(BASE, KEY), second.of(BASE, "sk-another")]
    assert len({limiter.name for limiter in limiters}) == 2
    assert all(KEY not in limiter.name for limiter in limiters)


async def test_a_call_that_need_not_wait_costs_next_to_nothing() -> None:
    inner = Replies()
    model = LimitedModel(inner, Limiters().of(BASE, None))
    request = ChatRequest((), {}, 5, agent="a")

    async def seconds(each: Model) -> float:
        began = time.perf_counter()
        for _ in range(1000):
            await each.complete(request)
        return (time.perf_counter() - began) / 1000

    spent = [await seconds(model) - await seconds(inner) for _ in range(10)]
    assert min(spent) < 10e-6


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    families = text_string_to_metric_families(metrics.expose()[0].decode())
    return next(
        (
            sample.value
            for family in families
            for sample in family.samples
            if (sample.name, sample.labels) == (name, labels)
        ),
        None,
    )
