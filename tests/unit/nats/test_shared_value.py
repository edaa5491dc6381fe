"""A value that several processes change: no change is lost, and each sees the others'."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

import pytest

from agentd.errors import BusError, NotStored
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.shared_value import Secret, Shared
from agentd.nats.streams import BUDGETS, JOINS
from agentd.protocol.server_subjects import bucket
from agentd.testing.virtual_time import in_virtual_time
from tests.memory_bus import MemoryBus

SUBJECT = bucket(BUDGETS, "dev", "key")


@dataclass(frozen=True)
class Count:
    number: int

    def dump(self) -> bytes:
        return str(self.number).encode()

    @classmethod
    def parse(cls, data: bytes) -> Count:
        return cls(int(data or 0))

    def one_more(self) -> Count:
        return Count(self.number + 1)


class Unreliable(MemoryBus):
    """A bus that fails on request: before it stores, or after."""

    def __init__(self) -> None:
        super().__init__()
        self.fail_before: list[BusError] = []
        self.fail_after: list[BusError] = []

    async def request(self, subject: str, data: bytes = b"", **more: object) -> Msg:  # pyright: ignore[reportIncompatibleMethodOverride]
        publishes = subject == SUBJECT
        if publishes and self.fail_before:
            raise self.fail_before.pop()
        answer = await super().request(subject, data, **more)  # type: ignore[arg-type]
        if publishes and self.fail_after:
            raise self.fail_after.pop()
        return answer


def shared(bus: MemoryBus) -> Shared[Count]:
    """The value as one more process knows it."""
    return Shared(cast("Bus", bus), BUDGETS, SUBJECT, parse=Count.parse, ttl=60)


def stored(bus: MemoryBus) -> int:
    last = bus.streams[BUDGETS].last(SUBJECT)
    return int(last.data) if last else 0


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_value_begins_as_parsed_from_nothing() -> None:
    bus = MemoryBus()
    await shared(bus).change(Count.one_more)

    last = bus.streams[BUDGETS].last(SUBJECT)
    assert last is not None
    assert last.data == b"1"
    assert last.headers["Nats-TTL"] == "60s"


async def test_an_edit_that_changes_nothing_is_not_stored() -> None:
    bus = MemoryBus()
    value = shared(bus)
    await value.change(lambda count: count)

    assert stored(bus) == 0
    assert not any(subject == SUBJECT for subject, _ in bus.published)


async def test_no_change_of_several_processes_is_lost() -> None:
    bus = MemoryBus()
    values = [shared(bus) for _ in range(4)]
    await asyncio.gather(*(value.change(Count.one_more) for value in values for _ in range(5)))

    assert stored(bus) == 20


async def test_an_edit_sees_what_another_process_has_stored() -> None:
    bus = MemoryBus()
    first, second = shared(bus), shared(bus)
    await first.change(Count.one_more)
    await second.change(Count.one_more)
    seen: list[int] = []

    def edit(count: Count) -> Count:
        seen.append(count.number)
        return count.one_more()

    await first.change(edit)
    assert seen == [1, 2]  # the first was outdated
    assert stored(bus) == 3


async def test_an_error_of_the_edit_passes_through_and_stores_nothing() -> None:
    bus = MemoryBus()
    value = shared(bus)

    def refuse(count: Count) -> Count:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await value.change(refuse)
    await value.change(Count.one_more)
    assert stored(bus) == 1


@in_virtual_time
async def test_a_change_survives_a_short_loss_of_the_connection() -> None:
    bus = Unreliable()
    bus.fail_before = [BusError("lost"), BusError("lost")]
    await shared(bus).change(Count.one_more)

    assert stored(bus) == 1


@in_virtual_time
async def test_the_value_is_read_again_after_an_answer_was_lost() -> None:
    """The edit then sees its own change, and can leave it at that."""
    bus = Unreliable()
    bus.fail_after = [BusError("lost")]
    seen: list[int] = []

    def once(count: Count) -> Count:
        seen.append(count.number)
        return count if count.number else count.one_more()

    await shared(bus).change(once)
    assert seen == [0, 1]
    assert stored(bus) == 1


@in_virtual_time
async def test_a_server_that_stays_unreachable_is_an_error_after_ten_seconds() -> None:
    bus = Unreliable()
    bus.fail_before = [BusError("lost")] * 1000
    with pytest.raises(BusError, match="lost"):
        await shared(bus).change(Count.one_more)

    assert now() == pytest.approx(10, abs=0.3)


@in_virtual_time
async def test_a_missing_bucket_is_an_error_immediately() -> None:
    bus = Unreliable()
    bus.fail_before = [NotStored("no stream")]
    with pytest.raises(NotStored):
        await shared(bus).change(Count.one_more)

    assert now() == 0


@in_virtual_time
async def test_a_waiting_task_is_woken_by_a_change_or_by_time() -> None:
    value = shared(MemoryBus())
    waiting = asyncio.create_task(value.changed())
    await asyncio.sleep(0.1)
    await value.change(Count.one_more)
    await waiting
    assert now() == pytest.approx(0.1)

    await value.changed()
    assert now() == pytest.approx(0.1 + 0.25)


@in_virtual_time
async def test_a_change_elsewhere_is_seen_after_a_wait() -> None:
    bus = MemoryBus()
    here, elsewhere = shared(bus), shared(bus)
    await here.change(Count.one_more)
    await elsewhere.change(Count.one_more)
    await here.changed()
    seen: list[int] = []

    def look(count: Count) -> Count:
        seen.append(count.number)
        return count

    await here.change(look)
    assert seen == [2]


# --- the secret of an environment -----------------------------------------------------------------


async def test_what_the_log_held_before_keeps_its_ids() -> None:
    bus = cast("Bus", MemoryBus())
    last = await jetstream.store(bus, "agents.dev.event.a.b", b"", message_id="1")
    secret = await read(bus)
    assert secret.identify("x", last) == "x"
    assert secret.identify("x", last + 1) == secret.digest("x")
    assert (await read(bus)).identify("x", last) == "x"


async def test_a_secret_that_the_server_lost_is_stored_again() -> None:
    memory = MemoryBus()
    bus = cast("Bus", memory)
    secret = await read(bus)
    before = secret.digest("x")
    memory.streams[JOINS].messages.clear()
    await secret.read(bus, "dev")
    assert (await read(bus)).digest("x") == secret.digest("x") == before


async def read(bus: Bus, env: str = "dev") -> Secret:
    secret = Secret()
    await secret.read(bus, env)
    return secret


async def test_replicas_derive_the_same_and_nobody_else_does() -> None:
    bus = cast("Bus", MemoryBus())
    first, *others = await asyncio.gather(*(read(bus) for _ in range(5)))
    assert {each.digest("x") for each in others} == {first.digest("x")}
    assert first.digest("x") != first.digest("y")
    assert first.digest("x") != Secret().digest("x")
    assert first.digest("x") != (await read(bus, "prod")).digest("x")
    assert first.digest("x") != (await read(cast("Bus", MemoryBus()))).digest("x")
    assert len(first.digest("x")) == 32


@pytest.mark.parametrize("garbage", [b"{", b"[]", b'{"secret": 5, "since": 1}', b'{"secret": "x"}'])
async def test_garbage_in_place_of_a_secret_is_replaced(garbage: bytes) -> None:
    """No process could start otherwise."""
    bus = MemoryBus()
    await bus.request(bucket(JOINS, "dev", "secret", "ids"), garbage)
    secret = await read(cast("Bus", bus))
    assert (await read(cast("Bus", bus))).digest("x") == secret.digest("x") != Secret().digest("x")
