"""Tasks per second and CPU per task of agentd, beside the bare handlers on the same server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from statistics import median

from agentd.settings import Durability
from bench import baseline
from bench.child import Child, cpu, machine_cpu, running
from bench.figures import Figure, Section, rounded
from bench.load import Lane, Load
from bench.rig import ENV, ROOT, Rig, manifest, rig, write_project

LEVELS = (1, 64, 512)  # tasks in flight
DURABILITIES: tuple[Durability, ...] = ("always", "relaxed")
_WARM_UP = 0.7  # seconds
_QUIET = 0.3  # CPUs in use on the whole machine, below which a run starts
_BASELINE = "bare durable"


@dataclass(frozen=True)
class Worker:
    """A process that takes the tasks of a lane."""

    name: str
    child: Child
    lane: Lane


@dataclass(frozen=True)
class Sample:
    """One run of one worker.

    Attributes:
        rate: tasks per second.
        cpu, latency: ms per task.
        busy: the CPUs used by worker, server, stub and load generator.
        others: the CPUs used by all other processes of this machine.
    """

    rate: float
    cpu: float
    latency: float
    busy: Mapping[str, float]
    others: float


Samples = dict[tuple[int, str], list[Sample]]  # by tasks in flight and worker


async def measure(*, repeats: int, seconds: float, patience: float) -> list[Section]:
    """One section for each durability."""
    sections: list[Section] = []
    for durability in DURABILITIES:
        async with rig(durability) as ground, _workers(ground) as workers:
            samples = await _runs(ground, workers, repeats, seconds, patience)
            memory = next(w.child.rss() for w in workers if w.name == "agentd")
        sections.append(_section(durability, samples, memory))
    return sections


@contextlib.asynccontextmanager
async def _workers(ground: Rig) -> AsyncGenerator[list[Worker]]:
    """Starts all workers, so that runs can alternate between them. Idle workers cost nothing."""
    model = ground.stub_model()
    project = write_project(
        ground.folder / "project",
        {
            "whole": manifest("whole", model, stream="false"),
            "streamed": manifest("streamed", model, stream="true"),
        },
    )
    environ = ground.environ() | {"PYTHONPATH": str(ROOT)}
    bare = [sys.executable, "-m", "bench.baseline"]
    async with contextlib.AsyncExitStack() as stack:
        agentd = await stack.enter_async_context(ground.agents(project))
        durable, core = [
            await stack.enter_async_context(
                running(
                    [*bare, kind, ground.stub_url],
                    ready="ready",
                    folder=ground.folder,
                    environ=environ,
                )
            )
            for kind in ("durable", "core")
        ]
        yield [
            Worker("agentd", agentd, _agentd_lane("whole")),
            Worker("agentd, streaming", agentd, _agentd_lane("streamed")),
            Worker(_BASELINE, durable, baseline.DURABLE),
            Worker("bare core", core, baseline.CORE),
        ]


def _agentd_lane(capability: str) -> Lane:
    where = f"{capability}.general"
    return Lane(f"agents.{ENV}.task.{where}", f"agents.{ENV}.result.{where}")


async def _runs(
    ground: Rig, workers: list[Worker], repeats: int, seconds: float, patience: float
) -> Samples:
    samples: Samples = {}
    async with ground.connect() as client:
        for _ in range(repeats):
            for in_flight in LEVELS:
                for worker in workers:
                    await _until_quiet(patience)
                    async with Load(client, worker.lane) as load:
                        sample = await _run(ground, worker, load, in_flight, seconds)
                    samples.setdefault((in_flight, worker.name), []).append(sample)
    return samples


async def _until_quiet(patience: float) -> None:
    """Waits until the machine is quiet, for `patience` seconds at most."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        before, started = machine_cpu(), time.monotonic()
        await asyncio.sleep(0.5)
        if (machine_cpu() - before) / (time.monotonic() - started) < _QUIET:
            return


async def _run(ground: Rig, worker: Worker, load: Load, in_flight: int, seconds: float) -> Sample:
    pids = {
        "worker": worker.child.pid,
        "server": ground.server.pid,
        "stub": ground.stub.pid,
        "load": os.getpid(),
    }
    await load.start(in_flight)
    await asyncio.sleep(_WARM_UP)
    before, all_before = {name: cpu(pid) for name, pid in pids.items()}, machine_cpu()
    count = await load.count(seconds)
    used = {name: cpu(pid) - before[name] for name, pid in pids.items()}
    others = max(0.0, machine_cpu() - all_before - sum(used.values()))
    await load.stop()
    return Sample(
        rate=count.rate,
        cpu=used["worker"] * 1000 / count.done,
        latency=count.latency,
        busy={name: spent / count.seconds for name, spent in used.items()},
        others=others / count.seconds,
    )


def _section(durability: Durability, samples: Samples, memory: float) -> Section:
    header = (
        "in flight", "worker", "tasks/s", "spread", "CPU ms/task", "spread", "p50 ms",
        "tasks/s, ratio", "CPU, ratio", "busy CPUs: worker + server + stub + load (others)",
    )  # fmt: skip
    rows = [_row(samples, in_flight, name) for in_flight, name in samples]
    figures = [
        Figure(
            name=f"{what}, {name}, {in_flight} in flight, {durability}",
            unit=unit,
            samples=tuple(getattr(sample, attribute) for sample in runs),
            at_most=1.0 if attribute == "cpu" and _aimed(name, in_flight, durability) else None,
            at_least=1000 if attribute == "rate" and _aimed(name, in_flight, durability) else None,
        )
        for (in_flight, name), runs in samples.items()
        for attribute, what, unit in (
            ("cpu", "CPU per task", "ms"),
            ("rate", "throughput", "tasks/s"),
            ("latency", "latency", "ms"),
        )
    ]
    figures.append(Figure(name="memory after these tasks", unit="MB", samples=(memory,)))
    return Section(
        title=f"Throughput and CPU, durability {durability}",
        figures=figures,
        header=header,
        rows=rows,
        notes=[
            f"The ratios compare with `{_BASELINE}` in the same round; they are medians of the "
            "rounds. The last column shows how quiet the machine was.",
            f"agentd used {rounded(memory)} MB of memory after these tasks.",
        ],
    )


def _aimed(name: str, in_flight: int, durability: Durability) -> bool:
    return (name, in_flight, durability) == ("agentd", 64, "always")


def _row(samples: Samples, in_flight: int, name: str) -> list[str]:
    runs, bare = samples[in_flight, name], samples[in_flight, _BASELINE]
    rates, costs = [run.rate for run in runs], [run.cpu for run in runs]
    busy = [median(run.busy[part] for run in runs) for part in runs[0].busy]
    others = median(run.others for run in runs)
    return [
        str(in_flight),
        name,
        rounded(median(rates)),
        f"{rounded(min(rates))} to {rounded(max(rates))}",
        rounded(median(costs)),
        f"{rounded(min(costs))} to {rounded(max(costs))}",
        rounded(median(run.latency for run in runs)),
        f"{median(a.rate / b.rate for a, b in zip(runs, bare, strict=True)):.2f}",
        f"{median(a.cpu / b.cpu for a, b in zip(runs, bare, strict=True)):.1f}",
        " + ".join(f"{share:.2f}" for share in busy) + f" ({others:.2f})",
    ]
