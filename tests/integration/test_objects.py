"""Contents too large for a message: stored as objects, fetched again, and missed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from agentd.errors import TaskError
from agentd.nats import jetstream, objects
from agentd.nats.bus import Bus
from agentd.nats.streams import LOG
from agentd.protocol.destination import Destination
from agentd.protocol.message import AgentIdentity, AgentMessage, decode, new
from agentd.routing.ask import ask

if TYPE_CHECKING:
    from tests.integration.conftest import Team

SOURCE = AgentIdentity(id="test")
ROOM = 100_000


class SmallBus(Bus):
    """A connection to a server that takes 100 kB, as far as we know."""

    @property
    def max_message(self) -> int:
        return ROOM


@pytest.fixture
async def small(bus: Bus) -> AsyncIterator[Bus]:
    connection = await SmallBus.connect(bus.options, timeout=5)
    yield connection
    await connection.close()


async def test_a_large_content_travels_by_reference(small: Bus) -> None:
    message = new("task", {"text": "x" * ROOM}, source=SOURCE)
    data = await objects.fit(small, message)
    assert len(data) < 2_000
    sent = decode(data)
    assert sent.payload.content.keys() == {"$object"}
    assert await objects.whole(small, sent) == message


async def test_a_small_content_stays(small: Bus) -> None:
    message = new("task", "x" * (ROOM // 2), source=SOURCE)
    assert decode(await objects.fit(small, message)) == message


async def test_a_large_result_can_still_be_read_without_its_data(small: Bus) -> None:
    content = {"success": True, "data": "x" * ROOM, "error": None}
    result = new("result", content, source=SOURCE)
    sent = decode(await objects.fit(small, result))
    assert sent.payload.content["success"]
    assert (await objects.whole(small, sent)).payload.content == content


async def test_a_large_task_is_answered_like_any_other(team: Team) -> None:
    """9 MB, on a server that takes 8."""
    await team.run(me="capabilities: [analysis]\n")
    task = new("task", "word " * 1_800_000, source=SOURCE)
    to = Destination.parse("analysis")
    async for part in ask(team.bus, team.subjects, to, task, timeout=20):
        if isinstance(part, AgentMessage):
            assert part.payload.content["success"]
            assert part.payload.content["usage"]["inputTokens"] > 1_800_000
    stored = [m async for m in jetstream.stored(team.bus, LOG, team.subjects.pattern("task.*.*.5"))]
    assert [len(msg.data) < 2_000 for msg in stored] == [True]


async def test_a_missing_object_is_an_error_of_the_task(small: Bus) -> None:
    message = new("task", {"$object": {"digest": "sha256:none", "size": 1}}, source=SOURCE)
    with pytest.raises(TaskError, match="sha256:none no longer exists"):
        await objects.whole(small, message)
