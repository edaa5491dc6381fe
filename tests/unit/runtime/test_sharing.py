"""Cooldowns between replicas: what is announced, and which announcements count."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agentd.background import Background
from agentd.errors import BusError
from agentd.nats.bus import Bus
from agentd.protocol.subjects import Subjects
from agentd.runtime.sharing import Cooldowns


class Channel:
    """A bus without a server: whatever is published arrives at every subscriber."""

    def __init__(self) -> None:
        self.connected = True
        self.background = Background()
        self.broken = False
        self.published: list[bytes] = []
        self.handlers: list[Callable[[Any], Awaitable[None]]] = []

    async def subscribe(self, _: str, handler: Callable[[Any], Awaitable[None]]) -> None:
        self.handlers.append(handler)

    async def publish(self, subject: str, data: bytes) -> None:
        if self.broken:
            raise BusError("no server")
        self.published.append(data)
        await self.receive(data, subject)

    async def receive(self, data: bytes, subject: str = "agentd.dev.cooldown") -> None:
        for handler in self.handlers:
            await handler(SimpleNamespace(subject=subject, data=data))


@pytest.fixture
def channel() -> Channel:
    return Channel()


async def replica(channel: Channel) -> tuple[Cooldowns, list[tuple[str, float]]]:
    """A replica, and the announcements that it has received; the list grows."""
    cooldowns = Cooldowns(cast("Bus", channel), Subjects("dev"))
    await cooldowns.open()
    received: list[tuple[str, float]] = []
    cooldowns.on_announce(lambda endpoint, seconds: received.append((endpoint, seconds)))
    return cooldowns, received


async def test_an_announcement_reaches_the_others_and_not_its_sender(channel: Channel) -> None:
    sender, own = await replica(channel)
    _, received = await replica(channel)

    sender.announce("https://api", 12.5)
    await asyncio.sleep(0)

    assert received == [("https://api", 12.5)]
    assert own == []


async def test_nothing_is_announced_without_a_server(channel: Channel) -> None:
    sender, _ = await replica(channel)
    channel.connected = False

    sender.announce("https://api", 12.5)
    await asyncio.sleep(0)

    assert channel.published == []


async def test_a_server_that_refuses_an_announcement_is_logged(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    sender, _ = await replica(channel)
    channel.broken = True

    sender.announce("https://api", 12.5)
    await asyncio.sleep(0)

    assert "a cooldown was not announced to the other replicas: no server" in caplog.text


@pytest.mark.parametrize(
    "announcement",
    [
        {"endpoint": "https://api", "from": "x"},
        {"endpoint": "https://api", "seconds": "soon", "from": "x"},
        ["https://api", 12.5],
    ],
)
async def test_an_invalid_announcement_is_logged_and_ignored(
    channel: Channel, caplog: pytest.LogCaptureFixture, announcement: object
) -> None:
    _, received = await replica(channel)

    await channel.receive(json.dumps(announcement).encode())

    assert received == []
    assert "agentd.dev.cooldown: invalid announcement of a cooldown: " in caplog.text


@pytest.mark.parametrize("seconds", [0, -1, "inf", "nan"])
async def test_a_time_that_is_none_is_ignored(channel: Channel, seconds: float | str) -> None:
    _, received = await replica(channel)
    announcement = {"endpoint": "https://api", "seconds": seconds, "from": "x"}

    await channel.receive(json.dumps(announcement).encode())

    assert received == []
