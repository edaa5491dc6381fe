"""A store whose schedules are in LOG, as an older agentd made it, is upgraded by whoever starts."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentd import crash_points
from agentd.errors import BusError
from agentd.nats import jetstream, schedules, streams, upgrade
from agentd.nats.bus import Bus
from agentd.nats.jetstream import ApiError
from agentd.nats.streams import AGENTS, LOG, SCHEDULES, STOPS, WORK
from agentd.protocol.server_subjects import bucket
from agentd.protocol.subjects import Subjects
from agentd.settings import Settings
from tests.nats_servers import JETSTREAM, connected, server
from tests.waiting import PATIENCE

DEV = Subjects("dev")
FIRST = 1_700_000_000_000
LATER = "@at 2100-01-01T00:00:00Z"
CONSUMER = "dev+_facts+reader"
# Runs the upgrade in another process, whose lease does not outlive it for long.
PROCESS = """
import asyncio, sys
from agentd.nats import upgrade
from agentd.nats.bus import Bus
from agentd.settings import Settings

async def main():
    bus = await Bus.connect({"servers": sys.argv[1]}, timeout=20)
    await upgrade.upgrade(bus, Settings())

upgrade._LEASE = 1.0
asyncio.run(main())
"""


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    with server(tmp_path, JETSTREAM.format(folder=tmp_path)) as url:
        yield url


@pytest.fixture
async def bus(url: str) -> AsyncIterator[Bus]:
    async with connected(url) as bus:
        await make_old_store(bus)
        yield bus


async def make_old_store(bus: Bus) -> None:
    for config in streams.configurations(Settings()):
        if config["name"] == LOG:
            config = {key: value for key, value in config.items() if key not in ADDED}
            subjects = [*config["subjects"], "agents.*.sched.*.*"]
            config |= {"subjects": subjects, "first_seq": FIRST, "allow_msg_schedules": True}
        if config["name"] != SCHEDULES:
            await jetstream.api(bus, f"STREAM.CREATE.{config['name']}", config)
    consumer: dict[str, Any] = {
        "durable_name": CONSUMER,
        "ack_policy": "explicit",
        "deliver_policy": "all",
        "filter_subjects": ["agents.dev.event.*.*"],
    }
    request = {"stream_name": LOG, "config": consumer, "action": "create"}
    await jetstream.api(bus, f"CONSUMER.CREATE.{LOG}.{CONSUMER}", request)
    for number in range(3):
        await keep(bus, DEV.task("analysis", "x"), f"task{number}")
        await keep(bus, DEV.event("news", "x"), f"event{number}")
    await keep(bus, DEV.result("analysis", "x", "t-1"), "result")
    await old_schedule(bus, "approval", "t-1", LATER, DEV.task("payments", "x"))
    await old_schedule(bus, "agent", "news", "0 0 8 * * *", DEV.task_for("news"))
    await old_schedule(bus, "join", "j-1", LATER, DEV.event("join_due", "writer"))
    await old_schedule(bus, "message", "forged", LATER, DEV.event("approval", "t-1"))
    await old_schedule(bus, "message", "forged2", LATER, DEV.result("analysis", "x", "t-2"))
    await pulled(bus)


ADDED = ("sources", "deny_purge", "allow_rollup_hdrs")


async def keep(bus: Bus, subject: str, data: str, **headers: str) -> None:
    await jetstream.store(bus, subject, data.encode(), message_id=data, headers=headers)


async def old_schedule(bus: Bus, kind: str, name: str, when: str, target: str) -> None:
    headers = {"Nats-Schedule": when, "Nats-Schedule-Target": target, "Nats-TTL": "never"}
    subject = f"agents.dev.sched.{kind}.{name}"
    await jetstream.store(
        bus, subject, name.encode(), message_id=name, headers={**headers, "X": name}
    )


async def pulled(bus: Bus) -> bytes:
    """The next message of the consumer, acknowledged."""
    inbox, found = bus.new_inbox(), asyncio.Queue[Any]()
    subscription = await bus.subscribe(inbox, found.put)
    await bus.publish(f"$JS.API.CONSUMER.MSG.NEXT.{LOG}.{CONSUMER}", b"1", reply=inbox)
    msg = await asyncio.wait_for(found.get(), PATIENCE)
    await bus.request(msg.reply, b"+ACK")
    await subscription.close()
    return msg.data


async def content(bus: Bus, stream: str, pattern: str) -> list[tuple[str, bytes]]:
    found = [msg async for msg in jetstream.stored(bus, stream, pattern)]
    return [((msg.headers or {})["Nats-Sequence"], msg.data) for msg in found]


async def until_in_work(bus: Bus, count: int) -> list[bytes]:
    async with asyncio.timeout(PATIENCE):
        while len(found := await content(bus, WORK, "work.>")) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return [data for _, data in found]


async def check(bus: Bus, record: list[tuple[str, bytes]]) -> None:
    """What holds after the upgrade of that store, whose log held `record`."""
    await streams.ensure(bus, Settings())
    assert await content(bus, LOG, "agents.>") == record
    waiting = {
        entry.subject: (entry.target, entry.data, entry.headers)
        async for entry in schedules.pending(bus, "sched.>")
    }
    assert waiting == {
        DEV.schedule("approval", "t-1"): (DEV.task("payments", "x"), b"t-1", {"X": "t-1"}),
        DEV.schedule("agent", "news"): (DEV.task_for("news"), b"news", {"X": "news"}),
        DEV.schedule("join", "j-1"): (DEV.event("join_due", "writer"), b"j-1", {"X": "j-1"}),
    }
    rollup = {"Nats-Rollup": "all"}
    with pytest.raises(BusError, match="rollup not permitted"):
        await jetstream.replace(bus, DEV.task("a", "b"), b"", after=0, headers=rollup)
    with pytest.raises(ApiError, match="purge"):
        await jetstream.api(bus, f"STREAM.PURGE.{LOG}")
    names = (await jetstream.api(bus, "STREAM.NAMES"))["streams"]
    assert upgrade.COPY not in names
    assert await pulled(bus) == b"event1"
    entry = await schedules.find(bus, DEV.schedule("approval", "t-1"))
    assert entry
    await schedules.publish_now(bus, entry)
    await keep(bus, DEV.task("analysis", "x"), "new")
    data = await until_in_work(bus, 5)
    assert sorted(data) == [b"new", b"t-1", b"task0", b"task1", b"task2"]


async def test_an_old_store_is_upgraded_by_processes_that_start_together(bus: Bus) -> None:
    record = [each for each in await content(bus, LOG, "agents.>") if int(each[0]) < FIRST + 7]
    await until_in_work(bus, 3)
    await asyncio.gather(*(upgrade.upgrade(bus, Settings()) for _ in range(3)))
    await check(bus, record)


async def test_an_upgrade_goes_on_where_a_process_was_killed(bus: Bus, url: str) -> None:
    record = [each for each in await content(bus, LOG, "agents.>") if int(each[0]) < FIRST + 7]
    for point in crash_points.OF_UPGRADES:
        environ = {**os.environ, "AGENTD_CRASH": point}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROCESS, url, env=environ
        )
        assert await asyncio.wait_for(process.wait(), PATIENCE) == -signal.SIGKILL, point
    await upgrade.upgrade(bus, Settings())
    await check(bus, record)


async def test_a_message_that_is_due_during_the_upgrade_is_sent(bus: Bus) -> None:
    now = schedules.Timing.at(time.time() + 0.5).pattern
    await old_schedule(bus, "message", "soon", now, DEV.task("analysis", "x", 9))
    await upgrade.upgrade(bus, Settings())
    await streams.ensure(bus, Settings())
    assert b"soon" in await until_in_work(bus, 4)


async def test_an_upgrade_waits_for_older_agents_to_end(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    key = bucket(AGENTS, "dev", "analyst", "p1")
    sequence = await jetstream.replace(bus, key, b"{}", after=0)
    upgrading = asyncio.create_task(upgrade.upgrade(bus, Settings()))
    async with asyncio.timeout(PATIENCE):
        while "@analyst of an older agentd is online" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert not upgrading.done()
    await keep(bus, DEV.task("analysis", "x"), "still accepted")
    await jetstream.replace(bus, key, b"", after=sequence)
    await asyncio.wait_for(upgrading, PATIENCE)
    assert b"still accepted" in await until_in_work(bus, 4)


async def test_a_store_without_its_other_streams_is_upgraded(bus: Bus) -> None:
    for name in (WORK, STOPS, AGENTS):
        await jetstream.api(bus, f"STREAM.DELETE.{name}")
    await upgrade.upgrade(bus, Settings())
    await streams.ensure(bus, Settings())
    assert len(await content(bus, LOG, "agents.>")) == 7


async def test_a_new_store_is_left_alone(url: str) -> None:
    async with connected(url) as bus:
        await upgrade.upgrade(bus, Settings())
        await streams.ensure(bus, Settings())
        before = (await jetstream.api(bus, f"STREAM.INFO.{LOG}"))["created"]
        await upgrade.upgrade(bus, Settings())
        assert (await jetstream.api(bus, f"STREAM.INFO.{LOG}"))["created"] == before
