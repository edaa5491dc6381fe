"""What the permissions of a NATS user do not allow is reported at once, as it is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentd.errors import Forbidden
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.streams import LOG
from tests.nats_servers import JETSTREAM, connected, server
from tests.waiting import until

SUBJECT = "agents.Prod.task.A.b"


@pytest.fixture
async def limited(tmp_path: Path) -> AsyncIterator[Bus]:
    permissions = 'publish: ["allowed.>"], subscribe: ["allowed.>", "_INBOX.>"]'
    users = f"users: [{{user: limited, password: p, permissions: {{ {permissions} }} }}]"
    config = f"{JETSTREAM.format(folder=tmp_path)}authorization {{ {users} }}\n"
    with server(tmp_path, config) as url:
        async with connected(url, user="limited", password="p") as bus:
            yield bus


async def test_a_request_fails_without_waiting(limited: Bus) -> None:
    async with asyncio.timeout(4):  # less than the timeout of one request
        with pytest.raises(Forbidden, match=f'do not allow to publish to "{SUBJECT}"'):
            await limited.request(SUBJECT)
        with pytest.raises(Forbidden, match=f'"{SUBJECT}"'):
            await jetstream.store(limited, SUBJECT, b"", message_id="1")
        with pytest.raises(Forbidden, match=r'"\$JS\.API\.DIRECT\.GET\.AGENTD_LOG"'):
            [msg async for msg in jetstream.stored(limited, LOG, SUBJECT)]


async def test_a_publish_is_logged_once(limited: Bus, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        await limited.publish(SUBJECT, b"")
    await until(lambda: SUBJECT in caplog.text)
    await limited.fence()
    assert caplog.text.count(f'publish to "{SUBJECT}"') == 1


async def test_a_subscription_is_remembered_as_refused(limited: Bus) -> None:
    async def ignore(_: Msg) -> None: ...

    await limited.subscribe("allowed.x", ignore)
    await limited.subscribe(f"{SUBJECT}.>", ignore, queue="q")
    await limited.fence()

    assert limited.refused == [f"{SUBJECT}.>"]
