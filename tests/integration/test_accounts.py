"""Accounts as managed NATS services give them, on a server that enforces their limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentd.errors import StartError
from agentd.nats import jetstream, provision, streams
from agentd.nats.bus import Bus
from agentd.settings import Settings
from tests.nats_servers import connected, server
from tests.waiting import PATIENCE

ACCOUNTS = {
    "sizes": "max_bytes_required: true, max_file: 20GB, max_mem: 1GB",
    "consumers": "max_consumers: 1000, max_file: 20GB, max_mem: 1GB",
    "memory": "max_file: 20GB, max_mem: 100MB",
    "disk_only": "max_file: 20GB, max_mem: 0",
    "few": "max_streams: 10, max_file: 20GB, max_mem: 1GB",
    "fewer": "max_streams: 5, max_file: 20GB, max_mem: 1GB",
    "small": "max_file: 20GB, max_mem: 1GB, disk_max_stream_bytes: 1GB",
    "tight": "max_file: 2GB, max_mem: 10MB, max_bytes_required: true",
}


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    accounts = "".join(
        f"{name} {{ jetstream: {{ {limits} }}, users: [{{user: {name}, password: p}}] }}\n"
        for name, limits in ACCOUNTS.items()
    )
    store = f"jetstream {{ store_dir: {tmp_path}/store, max_file: 900GB, max_mem: 20GB }}\n"
    with server(tmp_path, f"{store}accounts {{ {accounts} }}\n") as url:
        yield url


async def made(bus: Bus, name: str) -> dict[str, Any]:
    found = await provision.configuration(bus, name)
    assert found is not None
    return found


@pytest.mark.parametrize("account", [name for name in ACCOUNTS if name != "fewer"])
async def test_the_streams_fit_a_limited_account(url: str, account: str) -> None:
    async with connected(url, user=account, password="p") as bus:
        await streams.ensure(bus, Settings())
        await streams.ensure(bus, Settings())
        assert await streams.heal(bus, Settings()) == []


async def test_a_smaller_log_and_missing_streams_are_reported(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(url, user="small", password="p") as bus:
        await streams.ensure(bus, Settings())
        assert (await made(bus, streams.LOG))["max_bytes"] == 1024**3
    assert "AGENTD_LOG keeps 1,073,741,824 bytes" in caplog.text
    async with connected(url, user="few", password="p") as bus:
        await streams.ensure(bus, Settings())
    assert "without AGENTD_CHUNKS readers that come late" in caplog.text


async def test_too_few_streams_are_an_error_that_says_how_many_are_needed(url: str) -> None:
    async with connected(url, user="fewer", password="p") as bus:
        with pytest.raises(StartError, match="agentd needs ten streams"):
            await streams.ensure(bus, Settings())


async def test_a_full_work_queue_loses_no_task(url: str) -> None:
    """Tasks wait in the log until there is room."""
    async with connected(url, user="small", password="p") as bus:
        await streams.ensure(bus, Settings(stream_bytes=20_000))
        for number in range(60):
            await jetstream.store(bus, "agents.dev.task.a.b", b"x" * 1_000, message_id=f"{number}")
        taken = 0
        async with asyncio.timeout(PATIENCE):
            while taken < 60:
                sequence, _ = await jetstream.newest(bus, streams.WORK, "work.dev.a.b.5")
                if sequence:
                    await jetstream.delete(bus, streams.WORK, sequence)
                    taken += 1
                else:
                    await asyncio.sleep(0.05)
