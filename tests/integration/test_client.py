"""The client of nats-py where a connection breaks: what is logged, and how it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentd.nats.bus import Bus, Msg
from agentd.nats.connection import resolve
from agentd.settings import Settings
from tests.nats_servers import JETSTREAM, server
from tests.waiting import PATIENCE, until


async def test_a_client_whose_server_is_gone_ends_though_it_has_something_to_send(
    tmp_path: Path,
) -> None:
    with server(tmp_path, JETSTREAM.format(folder=tmp_path)) as url:
        bus = await Bus.connect({"servers": url}, timeout=10)
    await until(lambda: not bus.connected)
    await bus.publish("anything", b"buffered")
    await bus.close()


async def test_of_too_many_headers_the_last_are_read(nats_url: str) -> None:
    """The server appends its own, and to read 8 MB of headers would stop the process for long."""
    bus = await Bus.connect({"servers": nats_url}, timeout=10)
    heard: asyncio.Queue[Msg] = asyncio.Queue()
    await bus.subscribe("headers", heard.put)
    await bus.fence()
    headers = {f"X-{number}": "x" * 100 for number in range(20_000)}
    await bus.publish("headers", b"hello", headers={**headers, "Last": "1"})
    msg = await asyncio.wait_for(heard.get(), PATIENCE)
    found = msg.headers or {}
    assert (msg.data, found["Last"], found["X-19999"]) == (b"hello", "1", "x" * 100)
    assert 100 < len(found) < 1_000
    await bus.close()


async def test_several_addresses_that_do_not_answer_are_one_line(tmp_path: Path) -> None:
    said: list[str] = []
    with server(tmp_path, JETSTREAM.format(folder=tmp_path)) as url:
        first, second = url, url.replace("127.0.0.1", "127.0.0.2")
        third = url.replace("127.0.0.1", "localhost")
        target = resolve(Settings(nats=f"{first},{second},{third}"), {})
        bus = await Bus.connect(target.options(), timeout=10, on_state=said.append)
    await until(lambda: waiting(said) > 0)
    await asyncio.sleep(1.5)  # there are several attempts a second
    await bus.close()
    assert waiting(said) == 1, said


def waiting(said: list[str]) -> int:
    return sum(line.startswith("waiting for NATS") for line in said)


@pytest.mark.parametrize("steps", range(12))
async def test_waiting_for_a_server_ends_when_it_is_cancelled(
    unused_tcp_port: int, steps: int
) -> None:
    """At any moment of an attempt. asyncio.wait_for of Python 3.11 drops some cancellations."""
    options = {"servers": f"nats://127.0.0.1:{unused_tcp_port}"}
    connecting = asyncio.create_task(Bus.connect(options, on_state=lambda _: None))
    for _ in range(steps):
        await asyncio.sleep(0)
    connecting.cancel()
    ended, _ = await asyncio.wait([connecting], timeout=5)
    connecting.cancel()
    assert ended
