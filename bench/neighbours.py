"""The throughput of an agent beside one of the same process that fails."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nats.aio.client import Client

from bench import crashing
from bench.child import running
from bench.figures import Figure, Section
from bench.load import Lane, Load, task
from bench.rig import ENV, ROOT, Rig, manifest, rig, write_project

_IN_FLIGHT = 64
_WARM_UP = 1.0  # seconds
_FAILING_TASKS = 8
_GOOD = "good"
# What the agent beside the good one does, and its name; None for no such agent.
_BAD: Mapping[str, str | None] = {
    "alone": None,
    "fails every task": "failing",
    "crashes whenever it pulls": crashing.NAME,
}


@dataclass(frozen=True)
class Sample:
    """The tasks of the good agent per second, and per CPU second of its process."""

    rate: float
    per_cpu: float


async def measure(*, repeats: int, seconds: float) -> list[Section]:
    """One section: the good agent alone, and beside each kind of bad agent."""
    samples: dict[str, list[Sample]] = {kind: [] for kind in _BAD}
    async with rig("always") as ground, ground.connect() as client:
        for number in range(repeats):
            for kind, bad in _BAD.items():
                folder = ground.folder / f"{bad or _GOOD}-{number}"
                samples[kind].append(await _run(ground, client, folder, bad, seconds))
    return [_section(samples)]


async def _run(
    ground: Rig, client: Client, folder: Path, bad: str | None, seconds: float
) -> Sample:
    """One run of the good agent beside the bad one, in a new process."""
    good = manifest(_GOOD, ground.stub_model(), stream="false")
    manifests = {_GOOD: good} | ({bad: _bad_manifest(ground, bad)} if bad else {})
    project = write_project(folder, manifests)
    command = [sys.executable, "-m", "bench.crashing", "up", "manifests", "--env", ENV]
    environ = ground.environ() | {"PYTHONPATH": str(ROOT)}
    lane = Lane(f"agents.{ENV}.task.{_GOOD}.general", f"agents.{ENV}.result.{_GOOD}.general")
    async with running(
        [*command, "--http", "127.0.0.1:0"], ready=" ready in ", folder=project, environ=environ
    ) as child:
        if bad:
            for number in range(_FAILING_TASKS):
                await client.publish(
                    f"agents.{ENV}.task.{bad}.general", task(f"{folder.name}-{number}")
                )
        async with Load(client, lane) as load:
            await load.start(_IN_FLIGHT)
            await asyncio.sleep(_WARM_UP)
            before = child.cpu()
            count = await load.count(seconds)
            used = child.cpu() - before
            await load.stop()
    return Sample(rate=count.rate, per_cpu=count.done / used)


def _bad_manifest(ground: Rig, name: str) -> str:
    """The manifest of a bad agent, with the default limits and retries."""
    model = ground.stub_model().replace("openai/stub", "openai/fault-500")
    return manifest(name, model, stream="false", limits="{concurrency: 8}")


def _section(samples: Mapping[str, list[Sample]]) -> Section:
    alone = samples["alone"]
    figures = [
        Figure(name="throughput alone", unit="tasks/s", samples=tuple(run.rate for run in alone))
    ]
    for kind in list(samples)[1:]:
        pairs = list(zip(samples[kind], alone, strict=True))
        figures += [
            Figure(
                name=f"throughput kept beside an agent that {kind}",
                unit="of that alone",
                samples=tuple(beside.rate / run.rate for beside, run in pairs),
                at_least=0.95,
            ),
            Figure(
                name=f"tasks for the same CPU beside an agent that {kind}",
                unit="of those alone",
                samples=tuple(beside.per_cpu / run.per_cpu for beside, run in pairs),
            ),
        ]
    return Section(
        title="Beside an agent that fails, 64 in flight, durability always",
        figures=figures,
        notes=["The ratios compare with the run without the other agent in the same round."],
    )
