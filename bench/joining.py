"""The time from a new manifest to the first answer of its agent."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from pathlib import Path

from nats.aio.client import Client
from nats.aio.msg import Msg

from bench.batch import lane
from bench.figures import Figure, Section, percentile
from bench.load import task
from bench.rig import manifest, rig, write_project

_PATIENCE = 10.0  # seconds after which the measurement fails
_SETTLE = 1.0  # seconds before the first agent, because start-up is measured elsewhere


async def measure(*, repeats: int, agents: int) -> list[Section]:
    """One section: the time from the write to the answer."""
    async with rig("always") as ground:
        first = {"first": manifest("first", "mock/echo", stream="false")}
        project = write_project(ground.folder / "project", first)
        async with ground.agents(project), ground.connect() as client:
            await asyncio.sleep(_SETTLE)
            rounds = [
                [await _joins(client, project / "manifests") for _ in range(agents)]
                for _ in range(repeats)
            ]
    return [
        Section(
            title="A new agent",
            figures=[
                Figure(
                    name=f"file of a new agent to its first answer, {label}",
                    unit="ms",
                    samples=tuple(percentile(times, percent) for times in rounds),
                    at_most=1000,
                )
                for percent, label in ((50, "median"), (95, "p95"))
            ],
            notes=[
                f"{agents} agents in a round, one after the other. The task of an agent waits "
                "already when its file is written under another name and renamed."
            ],
        )
    ]


async def _joins(client: Client, manifests: Path) -> float:
    """The ms until a new agent has answered the task that waits for it.

    Raises:
        TimeoutError: it did not answer in time.
    """
    name = f"new-{secrets.token_hex(4)}"
    where = lane(name)
    answered: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()

    async def on_result(msg: Msg) -> None:
        answered.set_result(msg)

    subscription = await client.subscribe(where.results, cb=on_result)
    await client.publish(where.tasks, task(secrets.token_hex(16)))
    await client.flush()
    draft = manifests / f".{name}.tmp"
    draft.write_text(manifest(name, "mock/echo", stream="false"))
    started = time.perf_counter()
    os.replace(draft, manifests / f"{name}.yaml")
    async with asyncio.timeout(_PATIENCE):
        await answered
    took = time.perf_counter() - started
    await subscription.unsubscribe()
    return took * 1000
