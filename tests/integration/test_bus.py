"""The connection: what it stores, refuses and survives, on a real server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from agentd.errors import BusError, Conflict, NotStored, StartError, TooLarge
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.jetstream import ApiError
from agentd.nats.server import EmbeddedServer
from agentd.nats.streams import LOG
from agentd.protocol.subjects import Subjects


def with_token(url: str, token: str) -> dict[str, str]:
    return {"servers": url, "token": token}


async def test_what_is_stored_can_be_read_back(bus: Bus, subjects: Subjects) -> None:
    subject = subjects.result("a", "b", "c")
    await jetstream.store(bus, subject, b"one", message_id="1", headers={"traceparent": "x"})
    last = await jetstream.last(bus, LOG, subject)
    assert last is not None
    assert last.data == b"one"
    assert (last.headers or {})["traceparent"] == "x"
    assert await jetstream.last(bus, LOG, subjects.result("a", "b", "other")) is None


async def test_the_same_id_is_stored_once(bus: Bus, subjects: Subjects) -> None:
    subject = subjects.event("a", "b")
    first = await jetstream.store(bus, subject, b"one", message_id=f"{subjects.env}.1")
    again = await jetstream.store(bus, subject, b"one", message_id=f"{subjects.env}.1")
    assert first == again


async def test_create_refuses_a_second_writer(bus: Bus, subjects: Subjects) -> None:
    subject = subjects.result("a", "b", "c")
    await jetstream.store(bus, subject, b"one", message_id="x1", create=True)
    with pytest.raises(Conflict):
        await jetstream.store(bus, subject, b"two", message_id="x2", create=True)


async def test_a_retry_of_a_stored_create_is_no_conflict(bus: Bus, subjects: Subjects) -> None:
    """A publish that timed out may have been stored: here its first answer is thrown away."""
    subject = subjects.result("a", "b", "c")

    class Deaf(Bus):
        deaf = True

        async def request(self, subject: str, data: bytes = b"", **more: object) -> Msg:  # pyright: ignore[reportIncompatibleMethodOverride]
            answer = await super().request(subject, data, **more)  # type: ignore[arg-type]
            if self.deaf and not subject.startswith("$"):
                self.deaf = False
                raise BusError("no answer in time")
            return answer

    deaf = await Deaf.connect(bus.options, timeout=5)
    try:
        assert await jetstream.store(deaf, subject, b"one", message_id="mine", create=True) > 0
    finally:
        await deaf.close()


async def test_a_subject_without_a_stream_is_refused(bus: Bus, subjects: Subjects) -> None:
    too_deep = f"{subjects.task('a', 'b')}.urgent"
    with pytest.raises(NotStored, match="nobody listens"):
        await jetstream.store(bus, too_deep, b"x", message_id="1")


async def test_oversize_is_caught_before_the_wire(bus: Bus, subjects: Subjects) -> None:
    """nats-py counts the payload only, and is closed for good by what the server then says."""
    fits = bus.max_message
    with pytest.raises(TooLarge) as caught:
        await bus.publish(subjects.event("a", "b"), b"x" * fits, headers={"a": "b"})
    assert caught.value.size > caught.value.limit == fits
    assert bus.connected


async def test_the_size_of_headers_is_counted_exactly(bus: Bus) -> None:
    headers = {"Some-Header": "wért", "B": ""}
    line = sum(len(k) + len(v.encode()) + 4 for k, v in headers.items())
    room = bus.max_message - len(b"NATS/1.0\r\n\r\n") - line
    inbox = bus.new_inbox()
    arrived: asyncio.Queue[Msg] = asyncio.Queue()
    await bus.subscribe(inbox, arrived.put)
    await bus.fence()
    await bus.publish(inbox, b"x" * room, headers=headers)
    assert len((await asyncio.wait_for(arrived.get(), 5)).data) == room
    with pytest.raises(TooLarge):
        await bus.publish(inbox, b"x" * (room + 1), headers=headers)


async def test_an_api_error_carries_the_servers_code(bus: Bus) -> None:
    with pytest.raises(ApiError) as caught:
        await jetstream.api(bus, "STREAM.INFO.NOPE")
    assert caught.value.code == 10059


async def test_stored_reads_a_pattern_in_order(bus: Bus, subjects: Subjects) -> None:
    for i in range(600):
        await jetstream.store(
            bus,
            subjects.event("many", f"n{i % 3}"),
            str(i).encode(),
            message_id=f"m{i}{subjects.env}",
        )
    read = [int(m.data) async for m in jetstream.stored(bus, LOG, subjects.pattern("event.many.*"))]
    assert read == list(range(600))


async def test_what_is_gone_may_be_deleted_again(bus: Bus, subjects: Subjects) -> None:
    sequence = await jetstream.store(bus, subjects.event("gone", "x"), b"", message_id="1")
    for _ in range(2):
        await jetstream.delete(bus, LOG, sequence)


async def test_nobody_there_is_a_start_error() -> None:
    with pytest.raises(StartError, match=r"no NATS server answers at nats://127\.0\.0\.1:1$"):
        await Bus.connect({"servers": "nats://secret@127.0.0.1:1"}, timeout=0.3)


async def test_a_killed_server_is_survived(tmp_path: Path) -> None:
    """Subscriptions and requests work again on the server that takes the place of a killed one."""
    said: list[str] = []
    embedded = EmbeddedServer(tmp_path / ".agentd", "relaxed")
    server = await embedded.ensure()
    bus = await Bus.connect(with_token(server.url, server.token), timeout=5, on_state=said.append)
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(msg: Msg) -> None:
        await arrived.put(msg.data)

    again = asyncio.Event()

    async def reconnected() -> None:
        again.set()

    bus.on_reconnect(reconnected)
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
    assert any("lost NATS" in line for line in said)
    assert any("again" in line for line in said)
    await bus.close()
    await embedded.stop()


async def test_a_fatal_close_of_nats_py_is_survived(bus: Bus) -> None:
    """An oversize message that slips through closes nats-py for good: we connect anew."""
    arrived: asyncio.Queue[Msg] = asyncio.Queue()
    inbox = bus.new_inbox()
    await bus.subscribe(inbox, arrived.put)
    again = asyncio.Event()

    async def reconnected() -> None:
        again.set()

    bus.on_reconnect(reconnected)
    client = bus._client  # pyright: ignore[reportPrivateUsage]
    await client.publish(inbox, b"x" * bus.max_message, headers={"a": "b"})
    await asyncio.wait_for(again.wait(), 10)
    assert client.is_closed
    await bus.publish(inbox, b"back")
    assert (await asyncio.wait_for(arrived.get(), 5)).data == b"back"
    assert json.loads((await bus.request("$JS.API.INFO")).data)
