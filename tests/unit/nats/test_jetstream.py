"""Storing with retries: what is tried again, for how long, and what a lost answer means."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

import pytest

from agentd.errors import BusError, Conflict, NotStored, TooLarge, Unheard
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.jetstream import ApiError, Record
from agentd.nats.streams import LOG
from agentd.protocol.subjects import Subjects
from agentd.testing.virtual_time import in_virtual_time
from tests.memory_bus import MemoryBus, message

SUBJECTS = Subjects("dev")
RESULT = SUBJECTS.result("a", "b", "c")

Mishap = Callable[[], Msg]


class Unreliable(MemoryBus):
    """A bus on which publishes to `agents.…` meet mishaps, one each, before they work.

    With `stored` the server has stored the message before the mishap.
    """

    def __init__(self, *mishaps: Mishap, stored: bool = False) -> None:
        super().__init__()
        self.mishaps = list(mishaps)
        self.stored = stored
        self.tries = 0

    async def request(self, subject: str, data: bytes = b"", **more: Any) -> Msg:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not subject.startswith("agents."):
            return await super().request(subject, data, **more)
        self.tries += 1
        if not self.mishaps or self.stored:
            answer = await super().request(subject, data, **more)
        if self.mishaps:
            return self.mishaps.pop(0)()
        return answer  # pyright: ignore[reportPossiblyUnboundVariable]


def lost() -> Msg:
    raise BusError("no answer within 1 s")


def no_stream() -> Msg:
    raise Unheard("no stream")


def refused(err_code: int, code: int) -> Mishap:
    error = {"err_code": err_code, "code": code, "description": "refused"}
    return lambda: message(json.dumps({"error": error}).encode())


def now() -> float:
    return asyncio.get_running_loop().time()


def as_bus(bus: MemoryBus) -> Bus:
    return cast("Bus", bus)


async def store(bus: MemoryBus, **more: Any) -> int:
    return await jetstream.store(as_bus(bus), RESULT, b"mine", message_id="1", **more)


def records(*names: str) -> list[Record]:
    return [
        Record(
            subject=SUBJECTS.result("a", "b", name),
            data=name.encode(),
            message_id=name,
            after=0,
        )
        for name in names
    ]


def stored(bus: MemoryBus) -> list[bytes]:
    return [each.data for each in bus.streams[LOG].on("agents.dev.result.>")]


def test_a_message_id_is_told_apart_by_its_environment() -> None:
    assert Record(subject=RESULT, data=b"", message_id="1").wire_id == "1.dev"
    assert Record(subject="$KV.x.dev.key", data=b"", message_id="1").wire_id == "1"


def test_a_record_to_create_expects_no_earlier_message() -> None:
    record = Record(subject=RESULT, data=b"", message_id="1", headers={"a": "b"}, after=0)

    assert record.all_headers() == {
        "a": "b",
        "Nats-Msg-Id": "1.dev",
        "Nats-Expected-Last-Subject-Sequence": "0",
    }


@in_virtual_time
async def test_a_lost_answer_is_tried_again_and_stored_once() -> None:
    bus = Unreliable(lost, lost, stored=True)

    assert await store(bus) == 1
    assert bus.tries == 3
    assert stored(bus) == [b"mine"]


@in_virtual_time
async def test_a_lost_answer_to_our_own_create_is_no_conflict() -> None:
    bus = Unreliable(lost, stored=True)

    assert await store(bus, after=0) == 1


@in_virtual_time
async def test_a_retry_that_finds_the_message_of_another_is_a_conflict() -> None:
    bus = Unreliable()
    await jetstream.store(as_bus(bus), RESULT, b"theirs", message_id="2")
    bus.mishaps = [lost]

    with pytest.raises(Conflict):
        await store(bus, after=0)
    assert stored(bus) == [b"theirs"]


@in_virtual_time
async def test_a_conflict_stands_if_the_stream_was_deleted_meanwhile() -> None:
    class WithoutStreams(Unreliable):
        async def request(self, subject: str, data: bytes = b"", **more: Any) -> Msg:  # pyright: ignore[reportIncompatibleMethodOverride]
            if subject.endswith("STREAM.NAMES"):
                return message(b'{"total": 0, "streams": null}')
            return await super().request(subject, data, **more)

    with pytest.raises(Conflict):
        await store(WithoutStreams(lost, refused(10071, 400)), after=0)


@in_virtual_time
async def test_a_first_try_that_finds_a_message_of_the_same_id_is_a_conflict() -> None:
    """It was stored by an earlier call, which had its answer."""
    bus = Unreliable()
    await store(bus)

    with pytest.raises(Conflict):
        await store(bus, after=0)


@in_virtual_time
async def test_a_server_that_does_not_answer_is_an_error_after_the_patience() -> None:
    bus = Unreliable(*[lost] * 1000)
    with pytest.raises(BusError, match="no answer"):
        await store(bus, patience=3.0)

    assert now() == pytest.approx(3.0, abs=0.21)


@pytest.mark.parametrize(
    ("err_code", "code"), [(10023, 503), (10047, 500), (10210, 400), (10176, 400)]
)
def test_a_refusal_that_may_pass_is_tried_again(err_code: int, code: int) -> None:
    @in_virtual_time
    async def refused_once() -> None:
        bus = Unreliable(refused(err_code, code))
        await store(bus)

        assert bus.tries == 2
        assert stored(bus) == [b"mine"]

    refused_once()


@pytest.mark.parametrize(
    ("err_code", "code", "error"),
    [
        (10071, 400, Conflict),
        (10201, 400, Conflict),
        (10164, 400, NotStored),
        (10054, 500, NotStored),
        (10077, 500, NotStored),
    ],
)
def test_any_other_refusal_is_an_error_immediately(
    err_code: int, code: int, error: type[BusError]
) -> None:
    @in_virtual_time
    async def refused_once() -> None:
        bus = Unreliable(refused(err_code, code))
        with pytest.raises(error):
            await store(bus)

        assert bus.tries == 1
        assert now() == 0

    refused_once()


@in_virtual_time
async def test_one_message_does_not_wait_for_a_stream() -> None:
    bus = Unreliable(no_stream)
    with pytest.raises(Unheard):
        await store(bus)

    assert bus.tries == 1


@in_virtual_time
async def test_a_message_that_is_too_large_is_not_tried() -> None:
    bus = MemoryBus(max_message=100)
    with pytest.raises(TooLarge):
        await jetstream.store(as_bus(bus), RESULT, b"x" * 101, message_id="1")

    assert now() == 0


@in_virtual_time
async def test_several_records_wait_for_their_stream() -> None:
    bus = Unreliable(no_stream, no_stream)
    await jetstream.store_all(as_bus(bus), records("one", "two"))

    assert stored(bus) == [b"one", b"two"]
    assert now() == pytest.approx(0.4)


@in_virtual_time
async def test_several_records_wait_for_their_stream_only_so_long() -> None:
    bus = Unreliable(*[no_stream] * 1000)
    with pytest.raises(Unheard):
        await jetstream.store_all(as_bus(bus), records("one", "two"), patience=1.0)

    assert now() == pytest.approx(1.0, abs=0.21)


@in_virtual_time
async def test_a_batch_whose_answer_was_lost_is_stored_once() -> None:
    bus = Unreliable(lost, stored=True)
    await jetstream.store_all(as_bus(bus), records("one", "two"))

    assert stored(bus) == [b"one", b"two"]


@in_virtual_time
async def test_each_try_of_a_batch_is_a_new_batch() -> None:
    """The server still has the beginning of the first try."""
    bus = Unreliable(lost)
    await jetstream.store_all(as_bus(bus), records("one", "two"))

    assert stored(bus) == [b"one", b"two"]
    batches = [each.headers["Nats-Batch-Id"] for each in bus.streams[LOG].on("agents.>")]
    assert len(set(batches)) == 1


async def test_a_single_record_is_no_batch() -> None:
    bus = MemoryBus()
    await jetstream.store_all(as_bus(bus), records("one"))

    [only] = bus.streams[LOG].on("agents.>")
    assert "Nats-Batch-Id" not in only.headers


async def test_a_missing_stream_is_no_empty_subject() -> None:
    with pytest.raises(ApiError, match=r"STREAM\.MSG\.GET\.NOPE: stream not found") as caught:
        await jetstream.newest(as_bus(MemoryBus()), "NOPE", RESULT)
    assert caught.value.code == 10059


async def test_a_delete_that_fails_for_another_reason_is_an_error() -> None:
    with pytest.raises(ApiError):
        await jetstream.delete(as_bus(MemoryBus()), "NOPE", 1)


@in_virtual_time
async def test_a_read_without_an_answer_ends_after_five_seconds() -> None:
    class Mute(MemoryBus):
        async def publish(self, subject: str, data: bytes, **more: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            """Nothing arrives."""

    bus = Mute()
    with pytest.raises(BusError, match=r"AGENTD_LOG: no answer within 5 s"):
        [msg async for msg in jetstream.stored(as_bus(bus), LOG, RESULT)]
    assert now() == pytest.approx(5)
    assert bus.subscriptions == []
