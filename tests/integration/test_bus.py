"""The connection is made again after every loss, on a real server.

What the bus promises while it is connected is in `test_bus_contract.py`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from agentd.errors import BusError, StartError
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.server import EmbeddedServer
from agentd.protocol.subjects import Subjects


def with_token(url: str, token: str) -> dict[str, str]:
    return {"servers": url, "token": token}


async def test_a_retry_of_a_stored_create_is_no_conflict(bus: Bus, subjects: Subjects) -> None:
    """A publish that timed out may have been stored. Here the first acknowledgement is lost."""
    subject = subjects.result("a", "b", "c")

    class LosesAnAnswer(Bus):
        loses = True

        async def request(self, subject: str, data: bytes = b"", **more: object) -> Msg:  # pyright: ignore[reportIncompatibleMethodOverride]
            answer = await super().request(subject, data, **more)  # type: ignore[arg-type]
            if self.loses and not subject.startswith("$"):
                self.loses = False
                raise BusError("no answer in time")
            return answer

    losing = await LosesAnAnswer.connect(bus.options, timeout=5)
    try:
        assert await jetstream.store(losing, subject, b"one", message_id="mine", after=0) > 0
        assert not losing.loses
    finally:
        await losing.close()


async def test_no_server_is_a_start_error_without_credentials() -> None:
    with pytest.raises(StartError, match=r"no NATS server answers at nats://127\.0\.0\.1:1$"):
        await Bus.connect({"servers": "nats://secret@127.0.0.1:1"}, timeout=0.3)


async def test_the_bus_works_again_on_the_successor_of_a_killed_server(tmp_path: Path) -> None:
    states: list[str] = []
    embedded = EmbeddedServer(tmp_path / ".agentd", "relaxed")
    server = await embedded.ensure()
    bus = await Bus.connect(with_token(server.url, server.token), timeout=5, on_state=states.append)
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(msg: Msg) -> None:
        await arrived.put(msg.data)

    again = asyncio.Event()

    async def reconnected() -> None:
        again.set()

    bus.on_reconnect("test", reconnected)
    await bus.subscribe("news", take)
    pending = asyncio.create_task(bus.request("$JS.API.INFO.nothing.answers", timeout=30))
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(BusError):
        await asyncio.wait_for(pending, 5)
    await embedded.ensure()
    await asyncio.wait_for(again.wait(), 10)
    await bus.fence()
    await bus.publish("news", b"back")
    assert await asyncio.wait_for(arrived.get(), 5) == b"back"
    assert any("lost the connection" in line for line in states)
    assert any("again" in line for line in states)
    await bus.close()
    await embedded.stop()


async def test_a_client_that_nats_py_has_closed_is_replaced(bus: Bus) -> None:
    """nats-py closes the client permanently when it has sent an oversize message."""
    arrived: asyncio.Queue[Msg] = asyncio.Queue()
    inbox = bus.new_inbox()
    await bus.subscribe(inbox, arrived.put)
    again = asyncio.Event()

    async def reconnected() -> None:
        again.set()

    bus.on_reconnect("test", reconnected)
    client = bus._client  # pyright: ignore[reportPrivateUsage]
    await client.publish(inbox, b"x" * bus.max_message, headers={"a": "b"})
    await asyncio.wait_for(again.wait(), 10)
    assert client.is_closed
    await bus.publish(inbox, b"back")
    assert (await asyncio.wait_for(arrived.get(), 5)).data == b"back"
    assert json.loads((await bus.request("$JS.API.INFO")).data)


async def test_a_fence_that_is_cancelled_takes_nothing_else(bus: Bus) -> None:
    """A client that goes while its stream opens cancels one: its pong comes nevertheless."""
    fence = asyncio.create_task(bus.fence())
    await asyncio.sleep(0)
    fence.cancel()
    await asyncio.wait({fence})
    assert fence.cancelled()
    await bus.fence()
    assert await jetstream.api(bus, "INFO")
