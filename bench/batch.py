"""Sends tasks at once, and notes when each of what comes of them is there."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence

from nats.aio.client import Client
from nats.aio.msg import Msg

from bench.load import task
from bench.rig import ENV


async def at_once(
    client: Client, domains: Sequence[str], ends: str, *, patience: float = 60.0
) -> list[float]:
    """Sends one task to each of `domains` (one may stand there often); returns when the results
    on `ends` came, as many as there are tasks, in seconds since the first was sent.

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
        if failed or len(came) == len(domains):
            done.set()

    subscription = await client.subscribe(f"agents.{ENV}.result.{ends}", cb=on_result)
    await client.flush()
    tasks = [task(secrets.token_hex(16), "Go.") for _ in domains]
    started = time.perf_counter()
    for domain, data in zip(domains, tasks, strict=True):
        await client.publish(f"agents.{ENV}.task.{domain}.general", data)
    try:
        async with asyncio.timeout(patience):
            await done.wait()
    except TimeoutError:
        raise RuntimeError(f"{len(came)} of {len(domains)} results of {ends} came") from None
    finally:
        await subscription.unsubscribe()
    if failed:
        raise RuntimeError(f"a task of {ends} failed: {failed[0].decode()[:1000]}")
    return [each - started for each in came]
