"""A secret that the replicas of an environment share."""

from __future__ import annotations

import asyncio
from typing import cast

from agentd.nats.bus import Bus
from agentd.nats.secret import Secret
from tests.memory_bus import MemoryBus


async def read(bus: Bus, env: str = "dev") -> Secret:
    secret = Secret()
    await secret.read(bus, env)
    return secret


async def test_replicas_derive_the_same_and_nobody_else_does() -> None:
    bus = cast("Bus", MemoryBus())
    first, *others = await asyncio.gather(*(read(bus) for _ in range(5)))
    assert {each.digest("x") for each in others} == {first.digest("x")}
    assert first.digest("x") != first.digest("y")
    assert first.digest("x") != Secret().digest("x")
    assert first.digest("x") != (await read(bus, "prod")).digest("x")
    assert first.digest("x") != (await read(cast("Bus", MemoryBus()))).digest("x")
    assert len(first.digest("x")) == 32
