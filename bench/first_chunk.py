"""The time that agentd adds until the first words of an answer arrive."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable

import aiohttp
from nats.aio.client import Client
from nats.aio.msg import Msg

from agentd.settings import Durability
from bench.figures import Figure, Section, percentile
from bench.load import task
from bench.rig import ENV, Rig, manifest, rig, write_project

LATENCY, INTERVAL = 0.05, 0.01  # seconds until the stub's first chunk, and between two
_DURABILITIES: tuple[Durability, ...] = ("always", "relaxed")
STUB = {"latency": LATENCY, "interval": INTERVAL, "tokens": 5}

Ask = Callable[[], Awaitable[float]]


async def measure(*, repeats: int, asks: int) -> list[Section]:
    """One section: the stub alone, the stub through agentd, and the difference."""
    figures: list[Figure] = []
    for durability in _DURABILITIES:
        async with rig(durability) as ground:
            figures += await _figures(ground, durability, repeats, asks)
    return [
        Section(
            title="Time to first chunk",
            figures=figures,
            notes=[
                f"The stub waits {LATENCY * 1000:.0f} ms, then sends a word every "
                f"{INTERVAL * 1000:.0f} ms. One ask at a time, directly and through agentd in "
                f"turn; {asks} of each in a round, {repeats} rounds. `added` is the difference of "
                "the two in the same round."
            ],
        )
    ]


async def _figures(ground: Rig, durability: Durability, repeats: int, asks: int) -> list[Figure]:
    model = ground.stub_model()
    streamed = manifest("streamed", model, parameters=json.dumps({"stub": STUB}))
    project = write_project(ground.folder / "project", {"streamed": streamed})
    async with (
        ground.agents(project),
        ground.connect() as client,
        aiohttp.ClientSession() as http,
        asyncio.timeout(60 + repeats * asks),
    ):
        direct: Ask = lambda: _ask_stub(http, ground.stub_url)  # noqa: E731
        through: Ask = lambda: ask_agent(client)  # noqa: E731
        await _round(direct, through, 5)
        rounds = [await _round(direct, through, asks) for _ in range(repeats)]
    return [
        Figure(
            name=f"{name}, p{percent}, {durability}",
            unit="ms",
            samples=tuple(of(percent, stub, agent) for stub, agent in rounds),
            at_most=5 if name == "added" and percent == 50 else None,
        )
        for percent in (50, 99)
        for name, of in _VIEWS.items()
    ]


_VIEWS: dict[str, Callable[[int, list[float], list[float]], float]] = {
    "stub": lambda percent, stub, _agent: percentile(stub, percent),
    "through agentd": lambda percent, _stub, agent: percentile(agent, percent),
    "added": lambda percent, stub, agent: percentile(agent, percent) - percentile(stub, percent),
}


async def _round(direct: Ask, through: Ask, asks: int) -> tuple[list[float], list[float]]:
    """The times in ms. The two alternate, so that both run under the same conditions."""
    stub: list[float] = []
    agent: list[float] = []
    for _ in range(asks):
        stub.append(await direct())
        agent.append(await through())
    return stub, agent


async def _ask_stub(http: aiohttp.ClientSession, url: str) -> float:
    body = {
        "model": "stub",
        "stream": True,
        "stub": STUB,
        "messages": [{"role": "user", "content": "Go on."}],
    }
    started = time.perf_counter()
    first = 0.0
    async with http.post(f"{url}/chat/completions", json=body) as response:
        async for line in response.content:
            if not first and line.startswith(b"data: {"):
                delta = json.loads(line[6:])["choices"][0]["delta"]
                if delta.get("content"):
                    first = time.perf_counter()
    return (first - started) * 1000


async def ask_agent(client: Client) -> float:
    """The time to the first chunk of a task over NATS, in ms."""
    task_id = secrets.token_hex(16)
    first = 0.0
    ended = asyncio.Event()

    async def on_message(msg: Msg) -> None:
        nonlocal first
        payload = json.loads(msg.data)["payload"]
        if not first and payload.get("chunk"):
            first = time.perf_counter()
        if "content" in payload:
            ended.set()

    subscriptions = [
        await client.subscribe(f"agents.{ENV}.stream.response.{task_id}", cb=on_message),
        await client.subscribe(f"agents.{ENV}.result.streamed.general.{task_id}", cb=on_message),
    ]
    await client.flush()
    started = time.perf_counter()
    await client.publish(f"agents.{ENV}.task.streamed.general", task(task_id))
    async with asyncio.timeout(30):
        await ended.wait()
    for subscription in subscriptions:
        await subscription.unsubscribe()
    if not first:
        raise RuntimeError(f"task {task_id} was answered without a chunk")
    return (first - started) * 1000
