"""The CPU for a chunk of a streamed answer, with 50 streams at the same time."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass

from nats.aio.client import Client
from nats.aio.msg import Msg

from bench.batch import at_once, lane
from bench.child import Child
from bench.figures import Figure, Section
from bench.rig import ENV, manifest, rig, write_project

_STREAMS, _RATE = 50, 50  # streams at the same time; chunks per second in each
_WARM_UP, _REST = 1.5, 1.0  # seconds of a stream before and after the measurement


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Attributes:
        cpu: ms of CPU for a chunk of the model.
        chunks: chunks of the model per second.
        deltas: messages with pieces of answers per second.
        busy: how many CPUs agentd used.
    """

    cpu: float
    chunks: float
    deltas: float
    busy: float


async def measure(*, repeats: int, seconds: float) -> list[Section]:
    """One section."""
    tokens = round(_RATE * (_WARM_UP + seconds + _REST))
    async with rig("always") as ground:
        stub = json.dumps({"stub": {"interval": 1 / _RATE, "tokens": tokens}})
        agent = manifest("relay", ground.stub_model(), parameters=stub)
        project = write_project(ground.folder / "project", {"relay": agent})
        async with ground.agents(project) as child, ground.connect() as client:
            runs = [await _run(client, child, seconds) for _ in range(repeats)]
    return [
        Section(
            title=f"{_STREAMS} streams of {_RATE} chunks a second, relayed",
            figures=[
                Figure(name="CPU for a chunk", unit="ms", samples=tuple(run.cpu for run in runs)),
                Figure(
                    name="chunks that came through",
                    unit="chunks/s",
                    samples=tuple(run.chunks for run in runs),
                ),
                Figure(
                    name="messages that carried them",
                    unit="messages/s",
                    samples=tuple(run.deltas for run in runs),
                ),
                Figure(
                    name="agentd's use of a CPU",
                    unit="CPUs",
                    samples=tuple(run.busy for run in runs),
                ),
            ],
            notes=[
                "A chunk is one event of the model's stream: a word. agentd reads each chunk and "
                "publishes the new words every 30 ms. The CPU is that of the whole agentd process."
            ],
        )
    ]


async def _run(client: Client, child: Child, seconds: float) -> Sample:
    words = deltas = 0

    async def on_delta(msg: Msg) -> None:
        nonlocal words, deltas
        words += json.loads(msg.data)["payload"]["chunk"].count(" ")
        deltas += 1

    subscription = await client.subscribe(f"agents.{ENV}.stream.response.*", cb=on_delta)
    where = lane("relay")
    streams = asyncio.create_task(at_once(client, [where.tasks] * _STREAMS, where.results))
    await asyncio.sleep(_WARM_UP)
    words_before, deltas_before, cpu_before = words, deltas, child.cpu()
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    used, took = child.cpu() - cpu_before, time.perf_counter() - started
    chunks, messages = words - words_before, deltas - deltas_before
    await streams
    await subscription.unsubscribe()
    return Sample(
        cpu=used * 1000 / chunks, chunks=chunks / took, deltas=messages / took, busy=used / took
    )
