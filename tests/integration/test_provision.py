"""Streams that exist already, that somebody edited, or that cannot be made yet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentd.errors import StartError
from agentd.nats import jetstream, provision, streams
from agentd.nats.bus import Bus, Msg
from agentd.nats.session import visit
from agentd.settings import Settings
from tests.nats_servers import JETSTREAM, Cluster, connected, server
from tests.waiting import until

UPDATED = "$JS.EVENT.ADVISORY.STREAM.UPDATED.*"


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Bus]:
    with server(tmp_path, JETSTREAM.format(folder=tmp_path)) as url:
        async with connected(url) as bus:
            yield bus


async def config_of(bus: Bus, name: str) -> dict[str, object]:
    found = await provision.configuration(bus, name)
    assert found is not None
    return found


async def edit(bus: Bus, name: str, **changes: object) -> None:
    """Edits a stream like `nats stream edit`."""
    await jetstream.api(bus, f"STREAM.UPDATE.{name}", {**await config_of(bus, name), **changes})


async def test_nothing_is_updated_where_nothing_differs(own: Bus) -> None:
    await streams.ensure(own, Settings())
    updated: asyncio.Queue[Msg] = asyncio.Queue()
    await own.subscribe(UPDATED, updated.put)
    await own.fence()

    await streams.ensure(own, Settings())
    await streams.ensure(own, Settings(log_days=7))

    first = await asyncio.wait_for(updated.get(), 10)
    assert first.subject.endswith(streams.LOG)
    assert (await config_of(own, streams.LOG))["max_age"] == 7 * streams.DAY


async def test_what_an_operator_edited_is_kept(own: Bus) -> None:
    await streams.ensure(own, Settings())
    for name in (streams.LOG, streams.WORK, streams.JOINS):
        await edit(own, name, compression="s2", metadata={"owner": "ops"}, description="ours")

    await streams.ensure(own, Settings(log_days=7))

    for name in (streams.LOG, streams.WORK, streams.JOINS):
        edited = await config_of(own, name)
        assert edited["compression"] == "s2"
        assert edited["description"] == "ours"
        assert "owner" in str(edited["metadata"])


async def test_processes_that_start_together_with_their_cluster_all_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And later ones, with another setting, take no replica away."""
    async with contextlib.AsyncExitStack() as stack:
        cluster = stack.enter_context(Cluster(tmp_path))
        cluster.start(0)
        buses = [await stack.enter_async_context(connected(cluster.urls[0])) for _ in range(3)]
        starts = [asyncio.create_task(streams.ensure(bus, Settings(replicas=3))) for bus in buses]
        await until(lambda: "waiting for JetStream" in caplog.text)
        cluster.start(1, 2)
        await asyncio.gather(*starts)
        assert "one copy" not in caplog.text

        await streams.ensure(buses[0], Settings(replicas=1))

        for wanted in streams.configurations(Settings()):
            assert (await config_of(buses[0], wanted["name"]))["num_replicas"] == 3
        await edit(buses[0], streams.LOG, num_replicas=1)
        await streams.ensure(buses[0], Settings())
        assert f"one copy in a cluster: {streams.LOG};" in caplog.text


async def test_a_server_without_jetstream_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provision, "_SEARCH", 0.1)
    with server(tmp_path, "") as url:
        async with connected(url) as bus:
            with pytest.raises(StartError, match=f"{url} has no JetStream; start it with"):
                await streams.ensure(bus, Settings())
        with pytest.raises(StartError, match=f"{url} has no JetStream; start it with"):
            async with visit(Settings(nats=url)):
                pass


async def test_an_account_without_jetstream_is_named(tmp_path: Path) -> None:
    accounts = "accounts { A { users: [{user: a, password: p}] } }\n"
    with server(tmp_path, JETSTREAM.format(folder=tmp_path) + accounts) as url:
        async with connected(url, user="a", password="p") as bus:
            with pytest.raises(StartError, match="has no JetStream for this account"):
                await streams.ensure(bus, Settings())


async def test_streams_of_an_administrator_are_used_as_they_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    denied = '["$JS.API.STREAM.CREATE.>", "$JS.API.STREAM.UPDATE.>"]'
    limited = f"permissions: {{ publish: {{ deny: {denied} }} }}"
    users = f"{{user: admin, password: p}}, {{user: up, password: p, {limited}}}"
    config = f"{JETSTREAM.format(folder=tmp_path)}authorization {{ users: [{users}] }}\n"
    with server(tmp_path, config) as url:
        async with (
            connected(url, user="admin", password="p") as admin,
            connected(url, user="up", password="p") as bus,
        ):
            with pytest.raises(StartError, match=r'"\$JS\.API\.STREAM\.CREATE\.AGENTD_SCHEDULES"'):
                await streams.ensure(bus, Settings())
            await streams.ensure(admin, Settings())

            await streams.ensure(bus, Settings())
            assert "used as it is" not in caplog.text
            await streams.ensure(bus, Settings(log_days=7))

            assert "AGENTD_LOG is used as it is, though max_age should differ" in caplog.text
            assert (await config_of(admin, streams.LOG))["max_age"] == 30 * streams.DAY
