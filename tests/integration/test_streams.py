"""The streams on a real server: created, updated, healed, and tasks that flow between them."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path
from types import MappingProxyType

import pytest

from agentd.errors import StartError
from agentd.nats import jetstream, schedules, streams
from agentd.nats.bus import Bus, Msg
from agentd.nats.schedules import ScheduleEntry, Timing
from agentd.nats.server import EmbeddedServer
from agentd.protocol.subjects import Subjects
from agentd.settings import Settings

DEV = Subjects("dev")


async def test_a_task_reaches_work_with_its_priority_and_rings_the_doorbell(
    bus: Bus, subjects: Subjects
) -> None:
    rung: asyncio.Queue[Msg] = asyncio.Queue()
    await bus.subscribe(subjects.ring, rung.put)
    await bus.fence()
    await jetstream.store(bus, subjects.task("analysis", "x"), b"{}", message_id=f"{subjects.env}1")
    await jetstream.store(
        bus, subjects.task("analysis", "x", 9), b"{}", message_id=f"{subjects.env}2"
    )
    bells = [await asyncio.wait_for(rung.get(), 5) for _ in range(2)]
    assert [bell.subject for bell in bells] == [
        f"ring.{subjects.env}.analysis.x.5",
        f"ring.{subjects.env}.analysis.x.9",
    ]
    assert all(bell.data == b"" for bell in bells)


async def test_ensure_updates_a_configuration_that_differs(tmp_path: Path) -> None:
    async with own_server(tmp_path) as bus:
        await streams.ensure(bus, Settings())
        await streams.ensure(bus, Settings(log_days=7))
        config = (await jetstream.api(bus, f"STREAM.INFO.{streams.LOG}"))["config"]
        assert config["max_age"] == 7 * streams.DAY
        assert config["max_consumers"] == 20_000


async def test_every_deleted_stream_is_healed(tmp_path: Path) -> None:
    async with own_server(tmp_path) as bus:
        await streams.ensure(bus, Settings())
        names = [config["name"] for config in streams.configurations(Settings())]
        for name in names:
            await jetstream.api(bus, f"STREAM.DELETE.{name}")
        assert await streams.heal(bus, Settings()) == names
        assert await streams.heal(bus, Settings()) == []


async def test_work_still_flows_after_the_log_was_deleted(tmp_path: Path) -> None:
    """WORK copies by sequence: it would skip a new log that counts from 1."""
    async with own_server(tmp_path) as bus:
        await streams.ensure(bus, Settings())
        for i in range(5):
            await jetstream.store(bus, "agents.dev.task.a.b", b"{}", message_id=f"1{i}")
        await until_waiting(bus, 5)
        await jetstream.api(bus, f"STREAM.DELETE.{streams.LOG}")
        await streams.heal(bus, Settings())
        await jetstream.store(bus, "agents.dev.task.a.b", b"{}", message_id="2")
        await until_waiting(bus, 6)


@pytest.mark.parametrize("deleted", [streams.LOG, streams.SCHEDULES])
async def test_what_is_due_still_flows_after_a_deletion(tmp_path: Path, deleted: str) -> None:
    async with own_server(tmp_path) as bus:
        await streams.ensure(bus, Settings())
        await due_now(bus, "1")
        await until_waiting(bus, 1)
        await jetstream.api(bus, f"STREAM.DELETE.{deleted}")
        await streams.heal(bus, Settings())
        await due_now(bus, "2")
        await until_in_work(bus, b"2")


async def test_what_is_due_while_there_is_no_log_is_not_lost(tmp_path: Path) -> None:
    async with own_server(tmp_path) as bus:
        await streams.ensure(bus, Settings())
        await jetstream.api(bus, f"STREAM.DELETE.{streams.LOG}")
        await due_now(bus, "1")
        async with asyncio.timeout(20):
            while await schedules.find(bus, DEV.schedule("message", "1")):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await streams.heal(bus, Settings())
        await until_in_work(bus, b"1")


async def due_now(bus: Bus, name: str) -> None:
    entry = ScheduleEntry(
        subject=DEV.schedule("message", name),
        target=DEV.task("a", "b"),
        data=name.encode(),
        timing=Timing.at(time.time()),
    )
    await schedules.put(bus, entry)


async def until_in_work(bus: Bus, data: bytes) -> None:
    async with asyncio.timeout(20):
        for delay in itertools.repeat(0.05):
            if data in [msg.data async for msg in jetstream.stored(bus, streams.WORK, ">")]:
                return
            await asyncio.sleep(delay)


async def test_the_error_of_a_log_that_does_not_fit_names_the_setting(tmp_path: Path) -> None:
    async with own_server(tmp_path) as bus:
        with pytest.raises(StartError, match="AGENTD_LOG_BYTES"):
            await streams.ensure(bus, Settings(log_bytes=10**18))


async def test_an_old_server_is_refused_with_its_version(bus: Bus) -> None:
    class Old(Bus):
        info = MappingProxyType({"version": "2.10.27"})  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    with pytest.raises(StartError, match=r"is 2\.10\.27; agentd needs 2\.12 or newer"):
        await streams.ensure(Old({"servers": "nats://x"}, print), Settings())


async def until_waiting(bus: Bus, count: int) -> None:
    async with asyncio.timeout(20):
        for delay in itertools.repeat(0.05):
            state = (await jetstream.api(bus, f"STREAM.INFO.{streams.WORK}"))["state"]
            if state["messages"] >= count:
                return
            await asyncio.sleep(delay)


class own_server:
    """A server that a test may break."""

    def __init__(self, folder: Path) -> None:
        self.embedded = EmbeddedServer(folder / ".agentd", "relaxed")

    async def __aenter__(self) -> Bus:
        server = await self.embedded.ensure()
        self.bus = await Bus.connect({"servers": server.url, "token": server.token}, timeout=5)
        return self.bus

    async def __aexit__(self, *error: object) -> None:
        await self.bus.close()
        await self.embedded.stop()
