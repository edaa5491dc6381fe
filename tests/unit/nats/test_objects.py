"""Contents too large for a message travel as objects, and arrive as they were sent."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from agentd.errors import TaskError
from agentd.nats import objects
from agentd.nats.bus import Bus
from agentd.protocol.message import AgentIdentity, AgentMessage, decode, encode, new
from agentd.protocol.server_subjects import object_entry, object_pieces
from tests.memory_bus import MemoryBus
from tests.objects import replace_object

SOURCE = AgentIdentity(id="test")
LARGE = "x" * 100_000


@pytest.fixture
def bus() -> Bus:
    """A server that takes 50,000 bytes."""
    return cast("Bus", MemoryBus(max_message=50_000))


def task(content: Any) -> AgentMessage:
    return new("task", content, source=SOURCE)


async def test_a_small_content_stays_in_the_message(bus: Bus) -> None:
    message = task({"text": "x"})

    assert decode(await objects.fit(bus, message)) == message
    assert await objects.whole(bus, message) is message


async def test_a_message_keeps_room_for_its_headers(bus: Bus) -> None:
    empty = task("")

    def long(size: int) -> AgentMessage:
        """The same message with a text of this size."""
        payload = empty.payload.model_copy(update={"content": "x" * size})
        return empty.model_copy(update={"payload": payload})

    room = objects.room(bus)
    assert bus.max_message * 3 / 4 <= room < bus.max_message
    size = room - len(encode(empty))
    assert len(await objects.fit(bus, long(size))) == room
    assert len(await objects.fit(bus, long(size + 1))) < 1_000


@pytest.mark.parametrize("content", [LARGE, {"text": LARGE}, [LARGE, "ü"]])
async def test_a_large_content_becomes_an_object(bus: Bus, content: Any) -> None:
    message = task(content)
    sent = decode(await objects.fit(bus, message))

    reference = sent.payload.content["$object"]
    assert reference.keys() == {"digest", "size"}
    assert reference["size"] > len(LARGE)
    assert await objects.whole(bus, sent) == message


async def test_only_the_data_of_a_result_becomes_an_object(bus: Bus) -> None:
    content = {"success": True, "data": LARGE, "error": None}
    result = new("result", content, source=SOURCE)
    sent = decode(await objects.fit(bus, result))

    assert sent.payload.content["success"] is True
    assert sent.payload.content["data"].keys() == {"$object"}
    assert await objects.whole(bus, sent) == result


@pytest.mark.parametrize(
    "content", [{"$object": "x"}, {"$object": {"size": 1}}, {"$object": {"digest": "d"}, "a": 1}]
)
async def test_a_content_that_looks_like_a_reference_stays(bus: Bus, content: Any) -> None:
    message = task(content)

    assert await objects.whole(bus, message) is message


async def test_a_missing_object_is_an_error_of_the_task(bus: Bus) -> None:
    digest = objects.digest_of(b"never stored")
    with pytest.raises(TaskError, match=f"{digest} no longer exists") as caught:
        await objects.whole(bus, task({"$object": {"digest": digest, "size": 12}}))
    assert caught.value.code == "object_missing"


async def test_an_object_that_does_not_match_its_digest_is_an_error(bus: Bus) -> None:
    digest = objects.digest_of(b"original")
    await replace_object(bus, digest, b"replaced")
    with pytest.raises(TaskError, match="does not match its digest") as caught:
        await objects.fetch(bus, digest)
    assert caught.value.code == "object_missing"


ENTRIES: list[Any] = [
    b"{",
    b"\xff",
    {"nuid": "a"},
    {"nuid": "a b", "size": 5},
    {"nuid": ">", "size": 5},
    {"nuid": "a" * 65, "size": 5},
    {"nuid": {}, "size": "5"},
    {"nuid": "a", "size": 5, "deleted": True},
    {"nuid": "a", "size": 5, "options": {"link": {"bucket": objects.BUCKET, "name": "x"}}},
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: repr(entry)[:40])
async def test_what_a_stranger_calls_an_entry_is_no_object_and_stops_no_upload(
    bus: Bus, entry: Any
) -> None:
    digest = objects.digest_of(b"mine")
    written = entry if isinstance(entry, bytes) else json.dumps(entry).encode()
    await bus.request(object_entry(objects.BUCKET, digest), written)
    with pytest.raises(TaskError, match="no longer exists"):
        await objects.fetch(bus, digest)
    assert await objects.put(bus, b"mine") == digest
    assert await objects.fetch(bus, digest) == b"mine"


@pytest.mark.parametrize("pieces", [[], [b"other"], [b"mi", b"ne", b"more"], [b"more"]])
async def test_an_entry_that_names_other_pieces_is_replaced(bus: Bus, pieces: list[bytes]) -> None:
    """And the pieces stay: they may be those of another object."""
    other, mine = object_pieces(objects.BUCKET, "a"), objects.digest_of(b"mine")
    for piece in pieces:
        await bus.request(other, piece)
    entry = json.dumps({"nuid": "a", "size": 4}).encode()
    await bus.request(object_entry(objects.BUCKET, mine), entry)
    await objects.put(bus, b"mine")
    assert await objects.fetch(bus, mine) == b"mine"
    stored = cast("MemoryBus", bus).streams[objects.STREAM].on(other)
    assert [each.data for each in stored] == pieces


async def test_an_object_that_is_stored_is_not_stored_again(bus: Bus) -> None:
    stream = cast("MemoryBus", bus).streams[objects.STREAM]
    await objects.put(bus, LARGE.encode())
    before = len(stream.messages)
    await objects.put(bus, LARGE.encode())
    assert len(stream.messages) == before


async def test_a_digest_of_a_stranger_makes_no_long_error(bus: Bus) -> None:
    with pytest.raises(TaskError) as caught:
        await objects.whole(bus, task({"$object": {"digest": "x" * 100_000}}))
    assert len(str(caught.value)) < 200


async def test_an_object_over_the_limit_is_an_error(bus: Bus) -> None:
    digest = await objects.put(bus, b"x" * 2000)

    assert await objects.fetch(bus, digest, most=2000) == b"x" * 2000
    with pytest.raises(TaskError, match="has 2,000 bytes; the limit is 1,999") as caught:
        await objects.fetch(bus, digest, most=1999)
    assert caught.value.code == "object_too_large"


async def test_a_reader_may_want_less_than_a_content_may_have(bus: Bus) -> None:
    message = decode(await objects.fit(bus, task(LARGE)))
    assert (await objects.whole(bus, message, most=200_000)).payload.content == LARGE
    with pytest.raises(TaskError, match="the limit is 90,000") as caught:
        await objects.whole(bus, message, most=90_000)
    assert caught.value.code == "object_too_large"


def test_a_digest_is_that_of_the_bytes() -> None:
    assert objects.digest_of(b"") == (
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
