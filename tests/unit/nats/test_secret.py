"""A secret that the replicas of an environment share."""

from __future__ import annotations

import asyncio
from typing import cast

from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.secret import Secret
from agentd.nats.streams import JOINS
from tests.memory_bus import MemoryBus


async def test_what_the_log_held_before_keeps_its_ids() -> None:
    bus = cast("Bus", MemoryBus())
    last = await jetstream.store(bus, "agents.dev.event.a.b", b"", message_id="1")
    secret = await read(bus)
    assert secret.identify("x", last) == "x"
    assert secret.identify("x", last + 1) == secret.digest("x")
    assert (await read(bus)).identify("x", last) == "x"


async def test_a_secret_that_the_server_lost_is_stored_again() -> None:
    memory = MemoryBus()
    bus = cast("Bus", memory)
    secret = await read(bus)
    before = secret.digest("x")
    memory.streams[JOINS].messages.clear()
    await secret.read(bus, "dev")
    assert (await read(bus)).digest("x") == secret.digest("x") == before


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
