"""Many agents and tasks at the same time, against the same work one after the other."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import AsyncGenerator

import aiohttp
from nats.aio.client import Client

from agentd.settings import Durability
from bench import baseline
from bench.batch import at_once, lane
from bench.child import running
from bench.figures import Figure, Section
from bench.rig import ENV, ROOT, Rig, manifest, rig, write_project

LATENCY = 1.0  # seconds of the stub for an answer
_AGENTS, _CONVERSATIONS, _TASKS = 10, 100, 1_000
_LAST_STEP = f"step{_AGENTS - 1}"
_DURABILITIES: tuple[Durability, ...] = ("always", "relaxed")
_STUB = {"latency": LATENCY, "tokens": 20}


async def measure(*, repeats: int) -> list[Section]:
    """One section: ten agents at once, a chain of ten, and a thousand tasks."""
    figures: list[Figure] = []
    for durability in _DURABILITIES:
        async with rig(durability) as ground:
            figures += await _figures(ground, durability, repeats)
    return [
        Section(
            title="In parallel, in chains and in bursts",
            figures=figures,
            notes=[
                f"The stub takes {LATENCY:g} s for each answer; one agentd process. One after the "
                "other is bare HTTP to the stub, without agentd, in the same round. The chain is "
                f"{_AGENTS} agents, each of which emits the task of the next, for {_CONVERSATIONS} "
                "conversations that begin at once."
            ],
        )
    ]


async def _figures(ground: Rig, durability: Durability, repeats: int) -> list[Figure]:
    project = write_project(ground.folder / "project", _manifests(ground))
    async with ground.agents(project), _bare(ground), ground.connect() as client:
        await _side_by_side(client)
        rounds = [await _round(ground, client) for _ in range(repeats)]
    one_by_one, beside, chain, burst, bare = (tuple(each) for each in zip(*rounds, strict=True))
    ideal = _AGENTS * LATENCY
    return [
        Figure(
            name=f"{_AGENTS} agents at once, against one after the other, {durability}",
            unit="times faster",
            samples=tuple(a / b for a, b in zip(one_by_one, beside, strict=True)),
            at_least=9.5,
        ),
        Figure(name=f"the same, {durability}", unit="s", samples=beside),
        Figure(
            name=f"chain of {_AGENTS}, {_CONVERSATIONS} at once, against {ideal:g} s, {durability}",
            unit="times as long",
            samples=tuple(seconds / ideal for seconds in chain),
            at_most=1.1,
        ),
        Figure(
            name=f"{_TASKS:,} tasks at once, against {LATENCY:g} s, {durability}",
            unit="times as long",
            samples=tuple(seconds / LATENCY for seconds in burst),
            at_most=1.15,
        ),
        Figure(
            name=f"the same with a bare core handler, {durability}",
            unit="times as long",
            samples=tuple(seconds / LATENCY for seconds in bare),
        ),
    ]


@contextlib.asynccontextmanager
async def _bare(ground: Rig) -> AsyncGenerator[None]:
    """A bare handler with a separate stub, because it cannot request the latency."""
    stub = [sys.executable, "-m", "agentd.testing.stub_model", "--latency", str(LATENCY)]
    environ = ground.environ() | {"PYTHONPATH": str(ROOT)}
    async with running(stub, ready="http://", folder=ground.folder, environ=environ) as slow:
        handler = [sys.executable, "-m", "bench.baseline", "core", slow.line]
        async with running(handler, ready="ready", folder=ground.folder, environ=environ):
            yield


def _manifests(ground: Rig) -> dict[str, str]:
    model, stub = ground.stub_model(), json.dumps({"stub": _STUB})

    def agent(name: str, **more: str) -> str:
        limits = f"{{concurrency: {_TASKS}}}"
        return manifest(name, model, parameters=stub, stream="false", limits=limits, **more)

    steps = {
        f"step{number}": agent(f"step{number}", emit=f"[{{task: step{number + 1}.general}}]")
        for number in range(_AGENTS - 1)
    }
    beside = {f"beside{number}": agent(f"beside{number}") for number in range(_AGENTS)}
    return {**beside, **steps, _LAST_STEP: agent(_LAST_STEP), "burst": agent("burst")}


async def _round(ground: Rig, client: Client) -> tuple[float, ...]:
    """The seconds of: one after the other, at the same time, the chain, the burst, a bare burst."""
    return (
        await _one_by_one(ground),
        await _side_by_side(client),
        await _last(client, [lane("step0").tasks] * _CONVERSATIONS, lane(_LAST_STEP).results),
        await _last(client, [lane("burst").tasks] * _TASKS, lane("burst").results),
        await _last(client, [baseline.CORE.tasks] * _TASKS, f"{baseline.CORE.results}.*"),
    )


async def _one_by_one(ground: Rig) -> float:
    body = {"model": "stub", "stub": _STUB, "messages": [{"role": "user", "content": "Go."}]}
    async with aiohttp.ClientSession() as http:
        started = time.perf_counter()
        for _ in range(_AGENTS):
            async with http.post(f"{ground.stub_url}/chat/completions", json=body) as response:
                await response.read()
        return time.perf_counter() - started


async def _side_by_side(client: Client) -> float:
    tasks = [lane(f"beside{number}").tasks for number in range(_AGENTS)]
    return await _last(client, tasks, f"agents.{ENV}.result.*.general.*")


async def _last(client: Client, subjects: list[str], results: str) -> float:
    """The seconds until the last result."""
    return max(await at_once(client, subjects, results))
