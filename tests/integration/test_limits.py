"""Limits and cooldowns against a real endpoint, and between replicas over the real server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from agentd.errors import ModelError
from agentd.manifest.agent import ModelRef
from agentd.models.choose import Models
from agentd.models.limits.limited_model import LimitedModel
from agentd.models.port import ChatRequest, Model
from agentd.nats.bus import Bus, Msg
from agentd.protocol.subjects import Subjects
from agentd.runtime.sharing import Cooldowns
from agentd.testing.stub_model import Behaviour, StubModel

if TYPE_CHECKING:
    from tests.integration.conftest import Team

HI = ({"role": "user", "content": "Hello there"},)
KEY = "sk-aVerySecretKey123"
SLOTS, CALLERS, LATENCY = 8, 64, 0.1


@pytest.fixture
async def other(bus: Bus) -> AsyncIterator[Bus]:
    """Another replica's connection."""
    connection = await Bus.connect(bus.options, timeout=5)
    yield connection
    await connection.close()


class Crowded(StubModel):
    """Refuses calls above so many in flight; knows when each call came, and which it refused."""

    def __init__(self, slots: int, retry_after: str) -> None:
        super().__init__(Behaviour(tokens=1, latency=LATENCY), plan=self._decide)
        self.slots = slots
        self._retry_after = retry_after
        self.came: list[float] = []
        self.refused: list[float] = []
        self.done: list[float] = []
        self._serving = 0

    def _decide(self, _number: int, _body: Mapping[str, Any]) -> Behaviour | None:
        self.came.append(time.monotonic())
        if self._serving >= self.slots:
            self.refused.append(self.came[-1])
            return Behaviour(fault="429", retry_after=self._retry_after)
        self._serving += 1
        asyncio.get_running_loop().call_later(LATENCY, self._served)
        return None

    def _served(self) -> None:
        self._serving -= 1
        self.done.append(time.monotonic())


@asynccontextmanager
async def opened(stub: StubModel) -> AsyncGenerator[tuple[Models, Model]]:
    models = Models({"OPENAI_BASE_URL": stub.url, "OPENAI_API_KEY": KEY})
    try:
        yield models, models.open(ModelRef(name="openai/x"))
    finally:
        await models.close()


def after(times: list[float], moment: float) -> int:
    return sum(each >= moment for each in times)


async def test_an_endpoint_is_kept_busy_and_is_hardly_ever_asked_too_much() -> None:
    stub = Crowded(SLOTS, retry_after="0")
    async with stub.serve(), opened(stub) as (_, model):
        await keep_calling(model, callers=CALLERS, seconds=4)
        settled = time.monotonic() - 2.5
        served, refused = after(stub.done, settled) / 2.5, after(stub.refused, settled) / 2.5
        early = len(stub.refused)
        # What 8 slots can do on this machine just now: as many callers, and nobody is refused.
        stub.slots = CALLERS
        start = time.monotonic()
        await keep_calling(model, callers=SLOTS, seconds=1)
        ideal = after(stub.done, start) / (time.monotonic() - start)
    assert early < 5 * CALLERS
    assert refused < 0.1 * served
    assert served >= 0.8 * ideal


async def keep_calling(model: Model, *, callers: int, seconds: float) -> None:
    """Calls on and on, a moment after a refusal again."""
    end = time.monotonic() + seconds

    async def caller(number: int) -> None:
        while time.monotonic() < end:
            if not await is_answered(model, agent=f"agent-{number % 6}"):
                await asyncio.sleep(0.1)

    await asyncio.gather(*(caller(number) for number in range(callers)))


async def is_answered(model: Model, agent: str = "") -> bool:
    """Makes a call, which may be refused."""
    try:
        await model.complete(ChatRequest(HI, {}, 30, agent=agent))
    except ModelError as error:
        if error.code != "model_rate_limited":
            raise
        return False
    return True


async def test_no_replica_calls_before_retry_after_is_over(
    bus: Bus, other: Bus, subjects: Subjects
) -> None:
    stub = Crowded(1, retry_after="1.5")
    async with stub.serve(), opened(stub) as (here, asked), opened(stub) as (there, waiting):
        for models, connection in ((here, bus), (there, other)):
            cooldowns = Cooldowns(connection, subjects)
            models.limiters.share(cooldowns)
            await cooldowns.open()
            await connection.fence()
        first = asyncio.create_task(asked.complete(ChatRequest(HI, {}, 30)))
        await asyncio.sleep(LATENCY / 2)
        with pytest.raises(ModelError) as caught:
            await asked.complete(ChatRequest(HI, {}, 30))
        assert caught.value.retry_after == 1.5
        await first
        await bus.fence()
        await other.fence()
        await asyncio.sleep(0.1)
        with pytest.raises(ModelError) as caught:
            await waiting.complete(ChatRequest(HI, {}, 0.5))
        assert caught.value.code == "model_rate_limited"
        assert len(stub.came) == 2
        answered = await asyncio.gather(is_answered(waiting), is_answered(asked))
        assert any(answered)  # the stub has one slot for both
        assert len(stub.came) == 4
        assert all(came >= stub.refused[0] + 1.5 for came in stub.came[2:])


async def test_agents_tell_and_heed_cooldowns(team: Team, other: Bus) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()

    async def hear(msg: Msg) -> None:
        heard.put_nowait(json.loads(msg.data))

    await other.subscribe(team.subjects.cooldown, hear)
    await other.fence()
    refusal = Behaviour(fault="429", retry_after="0.5")
    stub = StubModel(
        Behaviour(text="yes."), plan=lambda number, _: refusal if number == 1 else None
    )
    async with stub.serve():
        await team.run(
            analyst=f"""
            description: Analyses.
            capabilities: [analysis]
            model: {{name: openai/x, api_base: "{stub.url}", api_key: {KEY}}}
            retry: {{attempts: 3, backoff: 100ms}}
            """
        )
        assert (await team.ask("analysis", "Well?"))["success"]
        async with asyncio.timeout(5):
            told = await heard.get()
        assert told["seconds"] == 0.5
        assert KEY not in str(told)
        await other.publish(
            team.subjects.cooldown, json.dumps({**told, "seconds": 1.0, "from": "me"}).encode()
        )
        await other.fence()
        began = time.monotonic()
        assert (await team.ask("analysis", "Well?"))["success"]
        assert time.monotonic() - began > 0.9
    assert stub.count == 3


async def test_a_busy_agent_does_not_starve_its_neighbours(team: Team) -> None:
    stub = Crowded(1, retry_after="0")
    async with stub.serve():
        model = f'{{name: openai/x, api_base: "{stub.url}"}}'
        common = f"description: Works.\nmodel: {model}\nlimits: {{concurrency: 30}}\n"
        await team.run(
            busy=f"{common}capabilities: [much]\nretry: {{attempts: 50, backoff: 50ms}}\n",
            quiet=f"{common}capabilities: [little]\nretry: {{attempts: 50, backoff: 50ms}}\n",
        )
        much = [asyncio.create_task(team.ask("much", "?")) for _ in range(30)]
        await asyncio.sleep(10 * LATENCY)
        began = time.monotonic()
        assert (await team.ask("little", "?"))["success"]
        took = time.monotonic() - began
        await asyncio.gather(*much)
    assert took < (time.monotonic() - began) / 2


async def test_a_call_that_got_no_slot_is_not_paid(team: Team) -> None:
    async with StubModel(Behaviour(tokens=100)).serve() as stub:
        await team.run(
            writer=f"""
            description: Writes.
            capabilities: [text]
            model:
              name: openai/x
              api_base: "{stub.url}"
              price: {{input: 0, output: 1000}}
            parameters: {{max_tokens: 100}}
            limits: {{conversation_cost: 0.15}} # one call costs 0.10
            retry: {{attempts: 1}}
            """
        )
        model = team.models.open(ModelRef(name="openai/x", api_base=stub.url))
        assert isinstance(model, LimitedModel)
        limiter = model.limiter
        refused = ModelError("busy", code="model_overloaded", retryable=True, status=503)
        while limiter.limit > 1:
            await asyncio.sleep(0.001)
            limiter.failed(refused, asyncio.get_running_loop().time())
        await limiter.enter("another", 1, "openai/x")
        talk: dict[str, Any] = {"context": {"conversationId": "talk"}}
        late = await team.ask("text", "?", routing={"timeout": 1000}, **talk)
        assert "s for a slot" in late["error"]["message"]
        limiter.leave()
        assert (await team.ask("text", "?", **talk))["success"]
        broke = await team.ask("text", "?", **talk)
        assert broke["error"]["code"] == "budget"
    assert stub.count == 1


async def test_what_is_no_announcement_is_not_heard(
    bus: Bus, other: Bus, subjects: Subjects
) -> None:
    heard: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
    here, there = Cooldowns(bus, subjects), Cooldowns(other, subjects)
    for cooldowns in (here, there):
        cooldowns.on_announce(lambda endpoint, seconds: heard.put_nowait((endpoint, seconds)))
        await cooldowns.open()
    await bus.fence()
    await other.fence()
    for data in (
        b"",
        b"[]",
        b"\xff",
        b'{"endpoint": "x"}',
        b'{"endpoint": "x", "seconds": "soon", "from": "me"}',
        b'{"endpoint": "x", "seconds": [1], "from": "me"}',
        b'{"endpoint": "x", "seconds": -1, "from": "me"}',
        b"[" * 100_000,
    ):
        await bus.publish(subjects.cooldown, data)
    here.announce("abc", 2.5)
    async with asyncio.timeout(5):
        assert await heard.get() == ("abc", 2.5)
    await bus.fence()
    assert heard.empty()


async def test_nothing_is_kept_for_a_server_that_is_away(bus: Bus, subjects: Subjects) -> None:
    gone = await Bus.connect(bus.options, timeout=5)
    cooldowns = Cooldowns(gone, subjects)
    await gone.close()
    before = asyncio.all_tasks()
    cooldowns.announce("abc", 2.5)
    assert asyncio.all_tasks() == before
