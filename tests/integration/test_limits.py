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
    """The connection of another replica."""
    connection = await Bus.connect(bus.options, timeout=5)
    yield connection
    await connection.close()


class Crowded(StubModel):
    """Refuses the calls above `slots` at once; records when each call came, and who made it."""

    def __init__(self, slots: int, retry_after: str) -> None:
        super().__init__(Behaviour(tokens=1, latency=LATENCY), plan=self._decide)
        self.slots = slots
        self._retry_after = retry_after
        self.came: list[float] = []
        self.refused: list[float] = []
        self.served: list[str] = []  # the question of each call that was not refused
        self._serving = 0

    def _decide(self, _number: int, body: Mapping[str, Any]) -> Behaviour | None:
        self.came.append(time.monotonic())
        if self._serving >= self.slots:
            self.refused.append(self.came[-1])
            return Behaviour(fault="429", retry_after=self._retry_after)
        self._serving += 1
        self.served.append(body["messages"][-1]["content"])
        asyncio.get_running_loop().call_later(LATENCY, self._served)
        return None

    def _served(self) -> None:
        self._serving -= 1


@asynccontextmanager
async def opened(stub: StubModel) -> AsyncGenerator[tuple[Models, Model]]:
    models = Models({"OPENAI_BASE_URL": stub.url, "OPENAI_API_KEY": KEY})
    try:
        yield models, models.open(ModelRef(name="openai/x"))
    finally:
        await models.close()


async def test_refusals_of_an_endpoint_lower_the_limit_to_what_it_can_take() -> None:
    stub = Crowded(SLOTS, retry_after="0")
    async with stub.serve(), opened(stub) as (_, model):
        assert isinstance(model, LimitedModel)
        answered = 0
        while answered < 200:
            answered += sum(await asyncio.gather(*(is_answered(model) for _ in range(CALLERS))))
        assert model.limiter.limit <= 2 * SLOTS
        # Now it refuses nothing, and no call is lost.
        stub.slots = CALLERS
        assert all(await asyncio.gather(*(is_answered(model) for _ in range(SLOTS))))


async def is_answered(model: Model, agent: str = "") -> bool:
    """Makes a call; False if it was refused."""
    try:
        await model.complete(ChatRequest(HI, {}, 30, agent=agent))
    except ModelError as error:
        if error.code != "model_rate_limited":
            raise
        return False
    return True


@asynccontextmanager
async def two_replicas(
    stub: StubModel, bus: Bus, other: Bus, subjects: Subjects
) -> AsyncGenerator[tuple[Model, Model]]:
    """The same model at two replicas, which announce cooldowns to each other."""
    async with stub.serve(), opened(stub) as (here, first), opened(stub) as (there, second):
        for models, connection in ((here, bus), (there, other)):
            cooldowns = Cooldowns(connection, subjects)
            models.limiters.share(cooldowns)
            await cooldowns.open()
            await connection.fence()
        yield first, second


async def refused(model: Model, stub: Crowded) -> ModelError:
    """Makes two calls of an endpoint with one slot; returns the error of the second."""
    first = asyncio.create_task(model.complete(ChatRequest(HI, {}, 30)))
    while not stub.served:  # noqa: ASYNC110 (the stub decides in a request handler)
        await asyncio.sleep(0.001)
    with pytest.raises(ModelError) as caught:
        await model.complete(ChatRequest(HI, {}, 30))
    await first
    return caught.value


async def known_cooldown(model: Model) -> ModelError:
    """Waits until a replica knows of a cooldown; returns the error of a call meanwhile."""
    for _ in range(500):
        try:
            await model.complete(ChatRequest(HI, {}, 5))
        except ModelError as error:
            return error
        await asyncio.sleep(0.01)
    raise AssertionError("no cooldown")


async def test_a_retry_after_of_one_replica_stops_the_calls_of_all(
    bus: Bus, other: Bus, subjects: Subjects
) -> None:
    stub = Crowded(1, retry_after="600")
    async with two_replicas(stub, bus, other, subjects) as (here, there):
        assert (await refused(here, stub)).retry_after == 600
        await bus.fence()
        error = await known_cooldown(there)
        calls = len(stub.came)
        assert error.code == "model_rate_limited"
        assert "asked for a wait; agentd calls it again in" in str(error)
        for model in (here, there):
            assert not await is_answered(model)
        assert len(stub.came) == calls


async def test_no_replica_calls_before_retry_after_has_passed(
    bus: Bus, other: Bus, subjects: Subjects
) -> None:
    stub = Crowded(1, retry_after="1.5")
    async with two_replicas(stub, bus, other, subjects) as (here, _):
        began = time.monotonic()
        await refused(here, stub)
        assert await is_answered(here)
        # A slow machine makes the wait longer, never shorter.
        assert stub.came[-1] >= began + 1.5


async def test_agents_announce_cooldowns_and_obey_those_of_others(team: Team, other: Bus) -> None:
    received: asyncio.Queue[Any] = asyncio.Queue()

    async def receive(msg: Msg) -> None:
        received.put_nowait(json.loads(msg.data))

    await other.subscribe(team.subjects.cooldown, receive)
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
            announced = await received.get()
        assert announced["seconds"] == 0.5
        assert KEY not in str(announced)
        began = time.monotonic()
        ours = {**announced, "seconds": 1.0, "from": "me"}
        await other.publish(team.subjects.cooldown, json.dumps(ours).encode())
        await other.fence()
        assert (await team.ask("analysis", "Well?"))["success"]
        # A slow machine makes the wait longer, never shorter.
        assert time.monotonic() - began >= 0.99
    assert stub.count == 3


async def test_a_busy_agent_does_not_starve_the_others(team: Team) -> None:
    stub = Crowded(1, retry_after="0")
    async with stub.serve():
        model = f'{{name: openai/x, api_base: "{stub.url}"}}'
        common = f"description: Works.\nmodel: {model}\nlimits: {{concurrency: 30}}\n"
        await team.run(
            busy=f"{common}capabilities: [much]\nretry: {{attempts: 50, backoff: 50ms}}\n",
            quiet=f"{common}capabilities: [little]\nretry: {{attempts: 50, backoff: 50ms}}\n",
        )
        busy = [asyncio.create_task(team.ask("much", "busy")) for _ in range(30)]
        while len(stub.served) < 5:  # noqa: ASYNC110 (the stub counts in a request handler)
            await asyncio.sleep(0.01)
        assert (await team.ask("little", "quiet"))["success"]
        await asyncio.gather(*busy)
    assert stub.served.index("quiet") < len(stub.served) / 2


async def test_a_call_that_got_no_slot_costs_nothing(team: Team) -> None:
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
        await limiter.acquire("another", 1, "openai/x")
        talk: dict[str, Any] = {"context": {"conversationId": "talk"}}
        late = await team.ask("text", "?", routing={"timeout": 2000}, **talk)
        assert "s for a slot" in late["error"]["message"]
        limiter.release()
        assert (await team.ask("text", "?", **talk))["success"]
        broke = await team.ask("text", "?", **talk)
        assert broke["error"]["code"] == "budget"
    assert stub.count == 1


async def test_an_invalid_announcement_is_ignored(bus: Bus, other: Bus, subjects: Subjects) -> None:
    received: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
    here, there = Cooldowns(bus, subjects), Cooldowns(other, subjects)
    for cooldowns in (here, there):
        cooldowns.on_announce(lambda *announced: received.put_nowait(announced))
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
        assert await received.get() == ("abc", 2.5)
    await bus.fence()
    assert received.empty()


async def test_no_announcement_is_sent_later_when_the_server_is_away(
    bus: Bus, subjects: Subjects
) -> None:
    gone = await Bus.connect(bus.options, timeout=5)
    cooldowns = Cooldowns(gone, subjects)
    await gone.close()
    before = asyncio.all_tasks()
    cooldowns.announce("abc", 2.5)
    assert asyncio.all_tasks() == before
