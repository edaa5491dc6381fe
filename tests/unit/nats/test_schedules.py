"""Schedules: their times, their headers, and when one replaces another."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import cast

import pytest

from agentd.errors import Conflict
from agentd.nats import jetstream, schedules
from agentd.nats.bus import Bus
from agentd.nats.schedules import ScheduleEntry, Timing
from agentd.nats.streams import SCHEDULES
from agentd.protocol.stream_subjects import due
from agentd.protocol.subjects import Subjects
from tests.memory_bus import MemoryBus

SUBJECTS = Subjects("dev")
ENTRY = ScheduleEntry(
    subject=SUBJECTS.schedule("message", "x"),
    target=SUBJECTS.task("analysis", "x"),
    data=b"{}",
    timing=Timing.every(60),
    headers={"Agentd-Note": "n"},
)


@pytest.fixture
def bus() -> Bus:
    return cast("Bus", MemoryBus())


def test_a_moment_is_written_in_utc_and_read_back() -> None:
    timing = Timing.at(1_700_000_000.25)

    assert timing.pattern == "@at 2023-11-14T22:13:20.250Z"
    assert timing.moment == 1_700_000_000.25
    assert Timing("@at 2023-11-14t22:13:20z").moment == 1_700_000_000


def test_an_interval_has_no_moment() -> None:
    assert Timing.every(1.5).pattern == "@every 1500ms"
    assert Timing.every(1.5).moment is None


def test_a_schedule_says_when_and_where_and_never_expires() -> None:
    assert ENTRY.all_headers == {
        "Agentd-Note": "n",
        "Nats-Schedule": "@every 60000ms",
        "Nats-Schedule-Target": "due.dev.task.analysis.x",
        "Nats-TTL": "never",
    }


def test_only_a_time_zone_other_than_utc_is_sent() -> None:
    in_berlin = replace(ENTRY, timing=Timing("0 0 8 * * *", "Europe/Berlin"))

    assert in_berlin.all_headers["Nats-Schedule-Time-Zone"] == "Europe/Berlin"
    assert "Nats-Schedule-Time-Zone" not in ENTRY.all_headers


def test_schedules_are_the_same_if_they_publish_the_same() -> None:
    assert ENTRY.same_as(replace(ENTRY, sequence=7))
    for other in (
        replace(ENTRY, data=b"[]"),
        replace(ENTRY, target=SUBJECTS.task("analysis", "y")),
        replace(ENTRY, timing=Timing.every(61)),
        replace(ENTRY, headers={}),
    ):
        assert not ENTRY.same_as(other)


async def test_a_schedule_is_stored_and_found(bus: Bus) -> None:
    assert await schedules.find(bus, ENTRY.subject) is None
    assert await schedules.put(bus, ENTRY)

    found = await schedules.find(bus, ENTRY.subject)
    assert found is not None
    assert found == replace(ENTRY, sequence=1, stored=found.stored)
    assert abs(found.stored - time.time()) < 60


async def test_the_newest_copy_of_a_schedule_says_when_the_next_one_comes(bus: Bus) -> None:
    await schedules.put(bus, ENTRY)
    stored = await schedules.find(bus, ENTRY.subject)
    assert stored is not None
    assert await schedules.announced(bus, stored) is None

    async def copy(next_one: str, scheduler: str = ENTRY.subject) -> float | None:
        headers = {"Nats-Scheduler": scheduler, "Nats-Schedule-Next": next_one}
        await bus.request(due(ENTRY.target), b"", headers=headers)
        return await schedules.announced(bus, stored)

    assert await copy("2030-01-01T08:00:00+01:00") == 1893481200
    assert await copy("2030-01-01T08:00:00+01:00", "sched.dev.message.y") is None
    assert await copy("purge") is None
    await copy("2030-01-01T08:00:00+01:00")
    await schedules.put(bus, replace(ENTRY, data=b"edited"))
    edited = await schedules.find(bus, ENTRY.subject)
    assert edited is not None
    assert await schedules.announced(bus, edited) is None


async def test_an_equal_schedule_is_not_stored_again(bus: Bus) -> None:
    await schedules.put(bus, ENTRY)
    assert not await schedules.put(bus, ENTRY)

    assert await schedules.put(bus, replace(ENTRY, timing=Timing.every(30)))
    found = await schedules.find(bus, ENTRY.subject)
    assert found is not None
    assert found.timing == Timing.every(30)
    assert found.sequence == 2


async def test_a_faster_process_is_seen_and_replaced(bus: Bus) -> None:
    """Another process stores its schedule between our look and our publish."""

    class Raced(MemoryBus):
        raced = False

        async def request(self, subject: str, data: bytes = b"", **more: object) -> jetstream.Msg:  # pyright: ignore[reportIncompatibleMethodOverride]
            if subject == ENTRY.subject and not self.raced:
                self.raced = True
                await schedules.put(cast("Bus", self), replace(ENTRY, data=b"theirs"))
            return await super().request(subject, data, **more)  # type: ignore[arg-type]

    raced = cast("Bus", Raced())
    assert await schedules.put(raced, ENTRY)

    found = await schedules.find(raced, ENTRY.subject)
    assert found is not None
    assert (found.data, found.sequence) == (b"{}", 2)


async def test_a_removed_schedule_is_gone(bus: Bus) -> None:
    await schedules.put(bus, ENTRY)

    assert await schedules.remove(bus, ENTRY.subject)
    assert not await schedules.remove(bus, ENTRY.subject)
    assert await schedules.find(bus, ENTRY.subject) is None


async def test_pending_schedules_are_listed_oldest_first(bus: Bus) -> None:
    for name in ("b", "a"):
        await schedules.put(bus, replace(ENTRY, subject=SUBJECTS.schedule("message", name)))
    await schedules.put(bus, replace(ENTRY, subject=SUBJECTS.schedule("agent", "c")))

    pattern = SUBJECTS.schedule("message", "*")
    found = [entry.subject async for entry in schedules.pending(bus, pattern)]
    assert found == [SUBJECTS.schedule("message", name) for name in ("b", "a")]


async def test_a_copy_that_is_published_now_ends_only_a_schedule_that_is_still_there(
    bus: Bus,
) -> None:
    await schedules.put(bus, ENTRY)
    entry = await schedules.find(bus, ENTRY.subject)
    assert entry is not None
    await schedules.put(bus, replace(ENTRY, data=b"newer"))

    with pytest.raises(Conflict):
        await schedules.publish_now(bus, entry)
    newer = await schedules.find(bus, ENTRY.subject)
    assert newer is not None
    await schedules.publish_now(bus, newer)
    copy = await jetstream.last(bus, SCHEDULES, "due.dev.task.analysis.x")
    assert copy is not None
    headers = copy.headers or {}
    assert (copy.data, headers["Nats-Schedule-Next"]) == (b"newer", "purge")
    assert headers["Agentd-Note"] == "n"
    assert "Nats-Msg-Id" not in headers  # LOG would drop it for a message of the same id
