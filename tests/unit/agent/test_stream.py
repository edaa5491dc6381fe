"""The deltas of an answer: numbered, collected, and complete at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from agentd.agent.stream import COALESCE, Deltas
from agentd.errors import BusError
from agentd.nats.bus import Bus
from agentd.protocol.message import AgentIdentity, AgentMessage, decode, encode, new
from agentd.testing.virtual_time import in_virtual_time

ME = AgentIdentity(id="me", type="agent")


class Published:
    """A bus that keeps what is published; it may be away."""

    max_message = 1_000_000

    def __init__(self) -> None:
        self.deltas: list[AgentMessage] = []
        self.headers: list[Mapping[str, str]] = []
        self.away = False

    async def publish(self, subject: str, data: bytes, *, headers: Mapping[str, str]) -> None:
        if self.away:
            raise BusError("the server is away")
        assert subject == "agents.dev.stream.response.t"
        self.deltas.append(decode(data))
        self.headers.append(headers)

    @property
    def shown(self) -> list[tuple[Any, ...]]:
        """Number, text and whether it is the last, of each delta."""
        payloads = [delta.payload for delta in self.deltas]
        return [(each.sequence_number, each.chunk, each.is_final) for each in payloads]


def stream(bus: Published) -> Deltas:
    task = new("task", "hi", source=AgentIdentity(id="you"), id="t")
    subject = "agents.dev.stream.response.t"
    return Deltas(cast("Bus", bus), subject, task=task, source=ME, headers={"traceparent": "x"})


@in_virtual_time
async def test_the_first_words_go_out_immediately_and_the_next_are_collected() -> None:
    bus = Published()
    deltas = stream(bus)
    deltas.push("One ")
    await asyncio.sleep(0.001)
    assert bus.shown == [(0, "One ", False)]

    for word in ("two ", "three "):
        deltas.push(word)
        await asyncio.sleep(COALESCE / 4)
    assert len(bus.shown) == 1
    await asyncio.sleep(COALESCE)
    assert bus.shown[1:] == [(1, "two three ", False)]
    await deltas.finish()
    assert bus.shown[2:] == [(2, "", True)]
    assert bus.headers == [{"traceparent": "x"}] * 3


@in_virtual_time
async def test_the_end_has_the_rest_of_the_text() -> None:
    bus = Published()
    deltas = stream(bus)
    deltas.push("All at once.")
    await deltas.finish()

    assert bus.shown == [(0, "All at once.", True)]


@in_virtual_time
async def test_a_restart_voids_the_text_and_counts_from_0_again() -> None:
    bus = Published()
    deltas = stream(bus)
    deltas.push("Let me look.")
    await asyncio.sleep(0.001)
    deltas.push("Hm.")
    deltas.restart()
    deltas.push("Found it.")
    await deltas.finish()

    assert bus.shown == [(0, "Let me look.", False), (0, "Found it.", True)]
    assert [delta.payload.turn for delta in bus.deltas] == [1, 2]
    runs = [delta.id.removesuffix("-0") for delta in bus.deltas]
    assert len(set(runs)) == 2, "a reader can tell the two runs apart"


@in_virtual_time
async def test_a_stopped_stream_publishes_nothing_more() -> None:
    bus = Published()
    deltas = stream(bus)
    deltas.push("One.")
    await asyncio.sleep(0.001)
    deltas.push("Two.")
    await deltas.stop()
    await asyncio.sleep(10 * COALESCE)

    assert bus.shown == [(0, "One.", False)]


@in_virtual_time
async def test_a_delta_that_is_not_published_does_not_end_the_stream() -> None:
    bus = Published()
    deltas = stream(bus)
    bus.away = True
    deltas.push("Lost.")
    await asyncio.sleep(0.001)
    bus.away = False
    deltas.push("Kept.")
    await deltas.finish()

    assert bus.shown == [(1, "Kept.", True)]


@in_virtual_time
async def test_a_large_delta_is_divided_so_that_the_server_takes_its_pieces() -> None:
    bus = Published()
    bus.max_message = 16_000
    deltas = stream(bus)
    text = "\u0001" * 5_000

    deltas.push(text)
    await deltas.finish()

    assert "".join(chunk for _, chunk, _ in bus.shown) == text
    assert [final for *_, final in bus.shown] == [False, False, True]
    assert all(len(encode(delta)) < 16_000 for delta in bus.deltas)
