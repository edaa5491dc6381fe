"""Streams that exist already, that somebody edited, or that cannot be made yet."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from nats_servers import JETSTREAM, Cluster, connected, server

from agentd.errors import StartError
from agentd.nats import jetstream, provision, streams
from agentd.nats.bus import Bus, Msg
from agentd.nats.session import visit
from agentd.settings import Settings
from tests.waiting import until

UPDATED = "$JS.EVENT.ADVISORY.STREAM.UPDATED.*"


async def config(bus: Bus, name: str) -> dict[str, object]:
    found = await provision.configuration(bus, name)
    assert found is not None
    return found


async def edit(bus: Bus, name: str, **changes: object) -> None:
    """Edits a stream like `nats stream edit`."""
    await jetstream.api(bus, f"STREAM.UPDATE.{name}", {**await config(bus, name), **changes})


async def test_nothing_is_updated_where_nothing_differs(tmp_path: Path) -> None:
    async with (
        server(tmp_path, JETSTREAM.format(folder=tmp_path)) as url,
        connected(url) as bus,
    ):
        await streams.ensure(bus, Settings())
        updated: asyncio.Queue[Msg] = asyncio.Queue()
        await bus.subscribe(UPDATED, updated.put)
        await bus.fence()

        await streams.ensure(bus, Settings())
        await streams.ensure(bus, Settings(log_days=7))

        first = await asyncio.wait_for(updated.get(), 10)
        assert first.subject.endswith(streams.LOG)
        assert (await config(bus, streams.LOG))["max_age"] == 7 * streams.DAY


async def test_what_an_operator_edited_is_kept(tmp_path: Path) -> None:
    async with (
        server(tmp_path, JETSTREAM.format(folder=tmp_path)) as url,
        connected(url) as bus,
    ):
        await streams.ensure(bus, Settings())
        for name in (streams.LOG, streams.WORK, streams.JOINS):
            await edit(bus, name, compression="s2", metadata={"owner": "ops"}, description="ours")

        await streams.ensure(bus, Settings(log_days=7))

        for name in (streams.LOG, streams.WORK, streams.JOINS):
            edited = await config(bus, name)
            assert edited["compression"] == "s2"
            assert edited["description"] == "ours"
            assert "owner" in str(edited["metadata"])


async def test_processes_that_start_together_with_their_cluster_all_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And later ones, with another setting, take no replica away."""
    async with Cluster(tmp_path) as cluster, contextlib.AsyncExitStack() as stack:
        await cluster.start(0)
        buses = [await stack.enter_async_context(connected(cluster.urls[0])) for _ in range(3)]
        starts = [asyncio.create_task(streams.ensure(bus, Settings(replicas=3))) for bus in buses]
        await until(lambda: "waiting for JetStream" in caplog.text)
        await cluster.start(1, 2)
        await asyncio.gather(*starts)
        assert "one copy" not in caplog.text

        await streams.ensure(buses[0], Settings(replicas=1))

        for wanted in streams.configurations(Settings()):
            assert (await config(buses[0], wanted["name"]))["num_replicas"] == 3
        await edit(buses[0], streams.LOG, num_replicas=1)
        await streams.ensure(buses[0], Settings())
        assert f"one copy in a cluster: {streams.LOG};" in caplog.text


async def test_a_server_without_jetstream_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provision, "_SEARCH", 0.1)
    async with server(tmp_path, "") as url, connected(url) as bus:
        with pytest.raises(StartError, match=f"{url} has no JetStream; start it with"):
            await streams.ensure(bus, Settings())
        with pytest.raises(StartError, match=f"{url} has no JetStream; start it with"):
            async with visit(Settings(nats=url)):
                pass


async def test_an_account_without_jetstream_is_named(tmp_path: Path) -> None:
    accounts = "accounts { A { users: [{user: a, password: p}] } }\n"
    async with (
        server(tmp_path, JETSTREAM.format(folder=tmp_path) + accounts) as url,
        connected(url, user="a", password="p") as bus,
    ):
        with pytest.raises(StartError, match="has no JetStream for this account"):
            await streams.ensure(bus, Settings())
