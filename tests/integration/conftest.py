"""A connection to the real server, with the streams made."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from agentd import streams
from agentd.bus import Bus
from agentd.settings import Settings
from agentd.subjects import Subjects


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    connection = await Bus.connect({"servers": nats_url}, timeout=5)
    await streams.ensure(connection, Settings())
    yield connection
    await connection.close()


@pytest.fixture
def subjects(env: str) -> Subjects:
    return Subjects(env)
