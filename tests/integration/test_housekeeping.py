"""What a running process restores when its server, a real one, loses streams or restarts."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.jetstream import ApiError
from agentd.nats.server import EmbeddedServer, RunningServer
from agentd.nats.streams import AGENTS, LOG, REVISIONS, WORK
from agentd.protocol.server_subjects import STREAM_DELETED
from agentd.record.revisions import recorded
from agentd.routing import registry
from agentd.runtime import housekeeping
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from tests.integration.conftest import Team

WORKER = "capabilities: [work]\n"


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    embedded = EmbeddedServer(tmp_path / ".agentd", "relaxed")
    yield embedded
    await embedded.stop()


@pytest.fixture
async def server(embedded: EmbeddedServer) -> RunningServer:
    return await embedded.ensure()


@pytest.fixture
async def bus(server: RunningServer) -> AsyncIterator[Bus]:
    """Of this server; `team` uses it."""
    bus = await Bus.connect({"servers": server.url, "token": server.token}, timeout=5)
    yield bus
    await bus.close()


async def until_created(bus: Bus, stream: str) -> None:
    async with asyncio.timeout(10):
        for _ in itertools.repeat(None):
            try:
                await jetstream.api(bus, f"STREAM.INFO.{stream}")
            except ApiError:
                await asyncio.sleep(0.02)
            else:
                return


async def source_of_work(bus: Bus) -> dict[str, Any]:
    return (await jetstream.api(bus, f"STREAM.INFO.{WORK}"))["config"]["sources"][0]


@pytest.mark.parametrize("stream", [LOG, WORK, AGENTS])
async def test_a_deleted_stream_is_created_again(team: Team, stream: str) -> None:
    await team.run(worker=WORKER)
    await jetstream.api(team.bus, f"STREAM.DELETE.{stream}")
    await until_created(team.bus, stream)
    assert (await team.ask("work", "hello"))["success"]


async def test_a_lost_stream_of_revisions_gets_those_that_are_live(team: Team) -> None:
    await team.run(worker=WORKER)
    env = team.subjects.env
    live = team.runtime.agents["worker"].live.spec.revision
    async with asyncio.timeout(PATIENCE):
        while not [each async for each in recorded(team.bus, env)]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await jetstream.api(team.bus, f"STREAM.DELETE.{REVISIONS}")
    await until_created(team.bus, REVISIONS)
    async with asyncio.timeout(PATIENCE):
        while [each.revision async for each in recorded(team.bus, env)] != [live]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_advisories_without_end_do_not_stop_the_sweeps(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anyone may publish them, and other programs may delete streams of their own all the time."""
    monkeypatch.setattr(housekeeping, "_SWEEP", 0.3)

    async def publish_on() -> None:
        while True:
            await team.bus.publish(STREAM_DELETED.replace("*", "x"), b"{}")
            await asyncio.sleep(0.1)

    publishing = asyncio.create_task(publish_on())
    await team.send(f"agents.{team.subjects.env}.task.ü.x", {"payload": {"content": 1}})
    async with asyncio.timeout(PATIENCE):
        while not await team.letters():  # noqa: ASYNC110 (only a sweep finds it)
            await asyncio.sleep(0.1)
    publishing.cancel()


async def test_a_restart_after_a_new_log_repeats_no_task(
    team: Team, embedded: EmbeddedServer
) -> None:
    """WORK is empty then, but it must not be filled from the beginning of the log."""
    await team.run(worker=WORKER)
    bus = team.bus
    await jetstream.api(bus, f"STREAM.DELETE.{LOG}")
    await until_created(bus, LOG)
    for number in range(3):
        assert (await team.ask("work", f"hello {number}"))["success"]
    await team.at_rest()
    async with asyncio.timeout(10):
        while "opt_start_seq" in await source_of_work(bus):  # noqa: ASYNC110 (of another process)
            await asyncio.sleep(0.02)
    done = team.runtime.agents["worker"].stats.done
    await embedded.stop()
    await embedded.ensure()
    await bus.until_connected()
    assert (await team.ask("work", "and again"))["success"]
    await team.at_rest()
    assert team.runtime.agents["worker"].stats.done == done + 1
    sequence = (await jetstream.api(bus, f"STREAM.INFO.{WORK}"))["state"]["last_seq"]
    assert sequence == 4


async def test_a_reader_of_an_empty_registry_waits_for_agents_that_reconnect(team: Team) -> None:
    await team.run(worker=WORKER)
    await heartbeat_of(team)
    # A restart of the server loses the streams in memory, as this does.
    await jetstream.api(team.bus, f"STREAM.PURGE.{AGENTS}")
    assert [replica.agent for replica in await registry.online(team.bus, team.subjects.env)] == [
        "worker"
    ]


async def test_a_reader_of_an_empty_registry_does_not_wait_for_agents_that_left(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_PATIENCE", 600.0)
    assert await registry.online(team.bus, team.subjects.env) == []
    await team.run(worker=WORKER)
    await heartbeat_of(team)
    await team.runtime.drain(5)
    assert await registry.online(team.bus, team.subjects.env) == []


async def test_after_a_restart_of_the_server_every_agent_is_online(
    team: Team, embedded: EmbeddedServer
) -> None:
    await team.run(worker=WORKER)
    await heartbeat_of(team)
    await embedded.stop()
    server = await embedded.ensure()
    visitor = await Bus.connect({"servers": server.url, "token": server.token}, timeout=5)
    try:
        assert await registry.online(visitor, team.subjects.env)
    finally:
        await visitor.close()


async def heartbeat_of(team: Team) -> None:
    async with asyncio.timeout(10):
        while not await jetstream.last(  # noqa: ASYNC110 (it is on the server)
            team.bus, LOG, team.subjects.event("status", "heartbeat")
        ):
            await asyncio.sleep(0.02)
