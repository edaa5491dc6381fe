"""Sends tasks at once, and notes when each of what comes of them is there."""

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
    """Where the tasks of a capability go, and all their results."""
    where = f"{capability}.general"
    return Lane(f"agents.{ENV}.task.{where}", f"agents.{ENV}.result.{where}.*")


async def at_once(
    client: Client, subjects: Sequence[str], results: str, *, patience: float = 60.0
) -> list[float]:
    """Sends one task to each of `subjects` (one may stand there often); returns when as many came
    on the pattern `results`, each in seconds since the first task was sent.

    Raises:
        RuntimeError: a result says that it failed, or they are not all there within `patience`.
    """
    came: list[float] = []
    failed: list[bytes] = []
    done = asyncio.Event()

    async def on_result(msg: Msg) -> None:
        came.append(time.perf_counter())
        if b'"success":true' not in msg.data:
            failed.append(msg.data)
        if failed or len(came) == len(subjects):
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
        raise RuntimeError(f"{len(came)} of {len(subjects)} results of {results} came") from None
    finally:
        await subscription.unsubscribe()
    if failed:
        raise RuntimeError(f"a task of {results} failed: {failed[0].decode()[:1000]}")
    return [each - started for each in came]
