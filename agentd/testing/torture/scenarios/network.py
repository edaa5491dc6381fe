"""A slow, broken or missing network between agentd, its senders and NATS."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from agentd.testing.chaos_proxy import ChaosProxy
from agentd.testing.torture.harness import World
from agentd.testing.torture.scenario import Size

_TOXICS: Mapping[str, Mapping[str, Any]] = {
    "latency": {"latency": 0.1, "jitter": 0.1},
    "slices": {"slice": 31},
    "bandwidth": {"bandwidth": 50_000},
    "resets": {"latency": 0.03},  # so that acknowledgements are lost on their way
    "blackhole": {"blackhole": True},
    "refusal": {"refuse": True},
}
_CUTS = frozenset({"resets", "blackhole", "refusal"})  # hardly a message passes
_RESETS = 4


async def network(world: World, size: Size) -> None:
    """Each network fault, and a frozen server: nothing lost or doubled, nothing stored twice."""
    world.agent()
    host, _, port = world.server.url.removeprefix("nats://").rpartition(":")
    async with ChaosProxy(host, int(port), seed=world.setup.seed) as proxy:
        via = world.nats_url.replace(f":{port}", f":{proxy.port}")
        world.sender = world.new_sender(await world.connect(via))
        await world.up(2, via=via)
        async with asyncio.TaskGroup() as group:

            def send() -> None:
                """Sends a share of the tasks during the next fault, and after it."""
                share = size.tasks // (len(_TOXICS) + 1)
                group.create_task(world.sender.send(share, over=world.ack_wait / 2))

            for toxic, settings in _TOXICS.items():
                calls, sent = world.calls.total, len(world.sender.drafts)
                await proxy.set(**settings)
                send()
                await _hold(proxy, toxic, world.ack_wait / 3)
                if toxic not in _CUTS:
                    # On a slow machine no task may have passed yet.
                    await world.until(partial(_called, world, calls), 10, f"a call in {toxic}")
                calls, sent = world.calls.total - calls, len(world.sender.drafts) - sent
                world.findings.figures[f"calls_in_{toxic}"] = calls
                # Where hardly anything passes, the fault meets the tasks that are being sent.
                world.findings.met[toxic] += sent if toxic in _CUTS else calls
                await proxy.set()
                await asyncio.sleep(world.ack_wait / 6)
            sent = len(world.sender.drafts)
            send()
            await world.pause_server(world.ack_wait / 3)
            world.findings.met["a pause of nats-server"] += len(world.sender.drafts) - sent
        await world.judge()


def _called(world: World, before: int) -> bool:
    return world.calls.total > before


async def _hold(proxy: ChaosProxy, toxic: str, seconds: float) -> None:
    """Keeps a toxic for some seconds.

    A refusal affects only new connections, so that the open ones are broken first.
    """
    breaks = {"resets": _RESETS, "refusal": 1}.get(toxic, 0)
    for _ in range(breaks):
        proxy.reset()
        await asyncio.sleep(seconds / breaks)
    if not breaks:
        await asyncio.sleep(seconds)
