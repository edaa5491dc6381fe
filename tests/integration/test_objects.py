"""Contents too large for a message: stored as objects, fetched again, and missed."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import nats
import pytest

from agentd.errors import TaskError, Undeliverable
from agentd.nats import jetstream, objects
from agentd.nats.bus import Bus
from agentd.nats.streams import LOG
from agentd.protocol.destination import Destination
from agentd.protocol.message import AgentIdentity, AgentMessage, decode, new
from agentd.protocol.server_subjects import object_entry
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


def referring(digest: str) -> AgentMessage:
    return new("task", {"$object": {"digest": digest, "size": 5}}, source=SOURCE)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"{", "is not JSON"),
        (b'{"a": NaN}', "is not JSON: NaN"),
        (b"[" * 70 + b"]" * 70, "nested deeper than 64 levels"),
        (b"[" + b"[]," * 300_000 + b"[]]", "it has too many values"),
        (b" " * (objects.MOST + 1), "has 33,554,433 bytes; the limit is 33,554,432"),
    ],
)
async def test_an_object_that_is_no_content_is_malformed(
    bus: Bus, data: bytes, problem: str
) -> None:
    digest = await objects.put(bus, data)
    with pytest.raises(Undeliverable, match=problem) as refused:
        await objects.whole(bus, referring(digest))
    assert refused.value.code == "malformed"


@pytest.mark.parametrize(
    "entry",
    [
        b"{",
        b'{"nuid": "a"}',
        b'{"name": "x", "bucket": "agentd_objects", "nuid": "a", "size": 5, "deleted": true}',
        b'{"name": "x", "bucket": "agentd_objects", "nuid": "a b", "size": 5}',
        b'{"name": "x", "bucket": "agentd_objects", "nuid": {}, "size": "5"}',
        b'{"name": "x", "bucket": "agentd_objects", "nuid": "a", "size": 5,'
        b' "options": {"link": {"bucket": "agentd_objects", "name": "x"}}}',
    ],
)
async def test_an_entry_that_a_stranger_wrote_is_no_object(bus: Bus, entry: bytes) -> None:
    digest = objects.digest_of(b"entry " + entry)
    name = base64.urlsafe_b64encode(digest.encode()).decode()
    await bus.publish(f"$O.agentd_objects.M.{name}", entry, headers={"Nats-Rollup": "sub"})
    with pytest.raises(TaskError, match="no longer exists"):
        await objects.whole(bus, referring(digest))
    assert await objects.put(bus, b"entry " + entry) == digest
    assert await objects.fetch(bus, digest) == b"entry " + entry


async def test_other_clients_can_read_an_object(bus: Bus) -> None:
    data = b"x" * 300_000
    name = await objects.put(bus, data)
    client = await nats.connect(**bus.options)
    store = await client.jetstream().object_store("agentd_objects")
    assert (await store.get(name)).data == data
    await client.close()


async def test_an_object_is_replaced_where_a_stranger_put_another_first(bus: Bus) -> None:
    """Its pieces stay: they may be those of a third object."""
    data = b"x" * 300_000
    other = await objects.put(bus, b"other")
    sequence, entry = await jetstream.newest(
        bus, objects.STREAM, object_entry("agentd_objects", other)
    )
    assert sequence
    await bus.request(object_entry("agentd_objects", objects.digest_of(data)), entry)
    assert await objects.fetch(bus, await objects.put(bus, data)) == data
    assert await objects.fetch(bus, other) == b"other"


async def test_no_more_of_an_object_is_read_than_it_may_have(bus: Bus) -> None:
    """Its entry says that it has 5 bytes."""
    digest = objects.digest_of(b"")
    name = base64.urlsafe_b64encode(digest.encode()).decode()
    entry = {"name": digest, "bucket": "agentd_objects", "nuid": "long", "size": 5}
    for _ in range(10):
        await bus.request("$O.agentd_objects.C.long", bytes(5_000_000))
    headers = {"Nats-Rollup": "sub"}
    await bus.request(f"$O.agentd_objects.M.{name}", json.dumps(entry).encode(), headers=headers)

    with pytest.raises(Undeliverable, match="the limit is 33,554,432") as refused:
        await objects.whole(bus, referring(digest))
    assert refused.value.code == "malformed"


async def test_a_task_with_a_bad_object_ends_at_its_first_attempt(team: Team) -> None:
    await team.run(me="capabilities: [analysis]\n")
    task = referring(await objects.put(team.bus, b"[" * 100))
    async for part in ask(team.bus, team.subjects, Destination.parse("analysis"), task, timeout=20):
        if isinstance(part, AgentMessage):
            assert part.payload.content["error"]["code"] == "malformed"


async def test_a_missing_object_is_an_error_of_the_task(small: Bus) -> None:
    message = new("task", {"$object": {"digest": "sha256:none", "size": 1}}, source=SOURCE)
    with pytest.raises(TaskError, match="sha256:none no longer exists"):
        await objects.whole(small, message)
