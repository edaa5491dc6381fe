"""A limited model takes a slot for each call; replicas and metrics learn of cooldowns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agentd.errors import ModelError
from agentd.metrics import Metrics
from agentd.models.failures import Failures
from agentd.models.limits.concurrency import MAX_FAILURES, Limiter
from agentd.models.limits.limited_model import LimitedModel, Limiters
from agentd.models.port import ChatRequest, Completion, Model, Usage
from agentd.testing import virtual_time

ANSWER = Completion(text="yes", model="openai/x", finish_reason="stop")
FAILURES = Failures("openai/x")
BASE, KEY = "http://stub/v1", "sk-aVerySecretKey123"


class Replies:
    """A model whose calls end, after some seconds, as the test says."""

    name = "openai/x"
    is_mock = False

    def __init__(self, *ends: Completion | BaseException, seconds: float = 0.0) -> None:
        self.ends = list(ends)
        self.seconds = seconds
        self.requests: list[ChatRequest] = []

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        self.requests.append(request)
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


class Wire:
    """Carries cooldowns between the replicas of this process."""

    def __init__(self) -> None:
        self.announced: list[tuple[str, float]] = []
        self.listeners: list[Callable[[str, float], None]] = []

    def announce(self, endpoint: str, seconds: float) -> None:
        self.announced.append((endpoint, seconds))
        for listener in self.listeners:
            listener(endpoint, seconds)

    def on_announce(self, listener: Callable[[str, float], None]) -> None:
        self.listeners.append(listener)


async def call(model: Model, *, timeout: float = 60.0) -> Completion:
    return await model.complete(ChatRequest((), {}, timeout, agent="a"))


def wait(seconds: float) -> ModelError:
    return FAILURES.error("model_rate_limited", "wait", status=429, retry_after=seconds)


async def test_it_answers_as_its_model_does() -> None:
    model = LimitedModel(Replies(), Limiters().of(BASE, None))
    pieces: list[str] = []
    assert await model.complete(ChatRequest((), {}, 5), pieces.append) is ANSWER
    assert (model.name, model.is_mock, pieces) == ("openai/x", False, ["yes"])
    assert model.cost_of(Usage(3, 1)) == 2.0


@pytest.mark.parametrize("end", [wait(0.0), ZeroDivisionError(), asyncio.CancelledError()])
async def test_a_call_gives_its_slot_back_however_it_ends(end: BaseException) -> None:
    model = LimitedModel(Replies(end), Limiters().of(BASE, None))
    with pytest.raises(type(end)):
        await model.complete(ChatRequest((), {}, 5))
    assert model.limiter.in_flight == 0


def test_the_wait_for_a_slot_is_part_of_the_timeout() -> None:
    async def story() -> None:
        inner = Replies(seconds=2)
        model = LimitedModel(inner, Limiter("x", lambda *_: None, most=1))
        await asyncio.gather(*(call(model, timeout=seconds) for seconds in (10, 10, 9)))
        assert [request.timeout for request in inner.requests] == [10, 8, 5]

    virtual_time.run(story)


def test_a_call_with_patience_does_not_wait_longer_than_that() -> None:
    async def story() -> None:
        model = LimitedModel(Replies(seconds=9), Limiter("x", lambda *_: None, most=1))
        running = asyncio.create_task(call(model))
        await asyncio.sleep(1)
        with pytest.raises(ModelError, match="waited 2 s for a slot"):
            await model.complete(ChatRequest((), {}, 60, patience=2))
        await running

    virtual_time.run(story)


def test_a_retry_after_counts_for_every_replica() -> None:
    async def story() -> None:
        wire, metrics = Wire(), Metrics()
        here, there = Limiters(), Limiters()
        for limiters in (here, there):
            limiters.share(wire)
        there.measure(metrics)
        refused = LimitedModel(Replies(wait(7)), here.of(BASE, KEY))
        other = LimitedModel(Replies(), there.of(BASE, KEY))
        another_key = LimitedModel(Replies(), there.of(BASE, "sk-another"))
        with pytest.raises(ModelError):
            await call(refused)
        assert (await call(another_key)) is ANSWER
        assert asyncio.get_running_loop().time() == 0
        with pytest.raises(ModelError) as caught:
            await call(other, timeout=5)
        assert (caught.value.code, caught.value.retry_after) == ("model_rate_limited", 7)
        await asyncio.gather(call(refused), call(other))
        assert asyncio.get_running_loop().time() == pytest.approx(7)
        assert len(wire.announced) == 1
        assert KEY not in str(wire.announced)
        name = there.of(BASE, KEY).name
        cooldowns = "agentd_model_cooldowns_total"
        assert value(metrics, cooldowns, endpoint=name, cause="announced") == 1

    virtual_time.run(story)


def test_a_call_that_waits_for_its_endpoint_says_why() -> None:
    async def story() -> None:
        reasons: list[str] = []

        async def on_wait(reason: str) -> None:
            reasons.append(reason)

        request = ChatRequest((), {}, 60, on_wait=on_wait)
        limiter = Limiter("http://desk/v1", lambda *_: None)
        model = LimitedModel(Replies(), limiter)
        await model.complete(request)
        assert reasons == []
        limiter.cool_down(5)
        await model.complete(request)
        for _ in range(MAX_FAILURES):
            now = asyncio.get_running_loop().time()
            limiter.failed(FAILURES.unreachable("no connection"), now)
        await model.complete(request)
        assert reasons == [
            f"{model.name}: http://desk/v1 asked for a wait",
            f"{model.name}: http://desk/v1 cannot be reached",
        ]

    virtual_time.run(story)


def test_a_lost_connection_is_not_announced_because_it_may_be_our_network() -> None:
    async def story() -> None:
        wire, limiters = Wire(), Limiters()
        limiters.share(wire)
        error = FAILURES.error("model_overloaded", "no connection")
        model = LimitedModel(Replies(*[error] * MAX_FAILURES), limiters.of(BASE, None))
        for _ in range(MAX_FAILURES):
            with pytest.raises(ModelError):
                await call(model)
        with pytest.raises(ModelError) as caught:
            await call(model, timeout=0.01)
        assert (caught.value.code, caught.value.retryable) == ("model_overloaded", True)
        assert caught.value.retry_after
        assert wire.announced == []

    virtual_time.run(story)


def test_an_announcement_for_an_unknown_endpoint_is_ignored() -> None:
    wire, limiters = Wire(), Limiters()
    limiters.share(wire)
    wire.announce("0123456789abcdef", 7)


def test_the_limit_and_the_waiting_calls_are_metrics() -> None:
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
        calls = [asyncio.create_task(call(model)) for _ in range(3)]
        await asyncio.sleep(0.5)
        assert value(metrics, "agentd_model_limit", endpoint=name) == 1
        assert value(metrics, "agentd_model_waiting", endpoint=name) == 2
        await asyncio.gather(*calls)

    virtual_time.run(story)


def test_replicas_agree_on_endpoints_without_showing_keys() -> None:
    first, second = Limiters(), Limiters()
    limiters = [first.of(BASE, KEY), second.of(BASE, KEY), second.of(BASE, "sk-another")]
    assert len({limiter.name for limiter in limiters}) == 2
    assert all(KEY not in limiter.name for limiter in limiters)


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts whatever a call could wait with: tasks, callbacks, timers, futures."""

    def __init__(self) -> None:
        super().__init__()
        self.created = 0

    def create_future(self) -> asyncio.Future[Any]:
        self.created += 1
        return super().create_future()

    def create_task(self, *args: Any, **kwargs: Any) -> asyncio.Task[Any]:
        self.created += 1
        return super().create_task(*args, **kwargs)

    def call_soon(self, *args: Any, **kwargs: Any) -> asyncio.Handle:
        self.created += 1
        return super().call_soon(*args, **kwargs)

    def call_at(self, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        self.created += 1
        return super().call_at(*args, **kwargs)


def test_a_call_that_finds_a_free_slot_never_waits() -> None:
    """Why this is no benchmark: what costs time is a task switch, a timer or a copied request."""

    async def story() -> tuple[Completion, int]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountingLoop)
        before = loop.created
        # Driven by hand: a call that waits for anything would yield a future here.
        with pytest.raises(StopIteration) as done:
            model.complete(request).send(None)
        return done.value.value, loop.created - before

    inner = Replies()
    model = LimitedModel(inner, Limiters().of(BASE, None))
    request = ChatRequest((), {}, 5, agent="a")
    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        answer, created = runner.run(story())

    assert (answer, created) == (ANSWER, 0)
    assert inner.requests[0] is request


class Crowded(Replies):
    """An endpoint with so many slots, which refuses the calls above them, until `end`."""

    def __init__(self, slots: int) -> None:
        super().__init__(seconds=0.1)
        self.slots = slots
        self.running = 0
        self.answered: list[float] = []
        self.refused: list[float] = []

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        clock = asyncio.get_running_loop().time
        if self.running >= self.slots:
            self.refused.append(clock())
            await asyncio.sleep(0.001)
            raise FAILURES.error("model_rate_limited", "no", status=429)
        self.running += 1
        try:
            answer = await super().complete(request, on_delta)
        finally:
            self.running -= 1
        self.answered.append(clock())
        return answer


def test_an_endpoint_is_kept_busy_and_rarely_gets_too_many_calls() -> None:
    slots, callers, seconds = 8, 64, 60.0
    endpoint = Crowded(slots)
    model = LimitedModel(endpoint, Limiter("x", lambda *_: None))

    async def caller(number: int) -> None:
        clock = asyncio.get_running_loop().time
        while clock() < seconds:
            try:
                await model.complete(ChatRequest((), {}, 30, agent=f"agent-{number % 6}"))
            except ModelError:
                await asyncio.sleep(0.1)

    async def story() -> None:
        await asyncio.gather(*map(caller, range(callers)))

    virtual_time.run(story)
    settled = 3.0
    answered = sum(time >= settled for time in endpoint.answered)
    refused = sum(time >= settled for time in endpoint.refused)
    assert len(endpoint.refused) - refused < 5 * callers
    assert refused < 0.1 * answered
    assert answered >= 0.8 * (seconds - settled) * slots / endpoint.seconds


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
