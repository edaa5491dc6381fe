"""Sends many tasks at once, and records when each result arrives."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence

from nats.aio.client import Client
from nats.aio.msg import Msg

from bench.load import Lane, task
from bench.rig import ENV


def lane(capability: str) -> Lane:
    """The subject of the tasks of a capability, and the pattern of their results."""
    where = f"{capability}.general"
    return Lane(f"agents.{ENV}.task.{where}", f"agents.{ENV}.result.{where}.*")


async def at_once(
    client: Client, subjects: Sequence[str], results: str, *, patience: float = 60.0
) -> list[float]:
    """Sends one task to each of `subjects`, which may contain a subject several times.

    Returns the times at which as many results arrived on the pattern `results`, in seconds since
    the first task was sent.

    Raises:
        RuntimeError: a task failed, or not all results arrived within `patience` seconds.
    """
    arrived: list[float] = []
    failed: list[bytes] = []
    done = asyncio.Event()

    async def on_result(msg: Msg) -> None:
        arrived.append(time.perf_counter())
        if b'"success":true' not in msg.data:
            failed.append(msg.data)
        if failed or len(arrived) == len(subjects):
            done.set()

    subscription = await client.subscribe(results, cb=on_result)
    await client.flush()
    tasks = [task(secrets.token_hex(16), "Go.") for _ in subjects]
    started = time.perf_counter()
    for subject, data in zip(subjects, tasks, strict=True):
        await client.publish(subject, data)
    try:
        async with asyncio.timeout(patience):
            await done.wait()
    except TimeoutError:
        raise RuntimeError(
            f"{len(arrived)} of {len(subjects)} results of {results} arrived"
        ) from None
    finally:
        await subscription.unsubscribe()
    if failed:
        raise RuntimeError(f"a task of {results} failed: {failed[0].decode()[:1000]}")
    return [each - started for each in arrived]
