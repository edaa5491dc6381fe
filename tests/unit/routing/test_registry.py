"""The entries of one agent, summed up over its replicas."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import cast

import pytest

from agentd.nats.bus import Bus
from agentd.nats.records import Newest, Room
from agentd.protocol.message import AgentIdentity, encode, new
from agentd.protocol.subjects import Subjects
from agentd.routing import registry
from agentd.routing.registry import Replica, announce, by_agent, online
from tests.memory_bus import MemoryBus

REPLICA = Replica(
    agent="ada",
    instance="i1",
    host="h",
    pid=1,
    capabilities=["b", "a"],
    model="mock/echo",
    mock=True,
    revision="r1",
    refused=[],
    done=3,
    failed=1,
    in_flight=2,
    concurrency=8,
    p50=10.0,
    tokens=100,
    cost=0.5,
    started=50.0,
    seen=60.0,
    description="old",
)


def test_an_agent_is_one_object_whatever_the_number_of_its_replicas() -> None:
    bob = replace(REPLICA, agent="bob")
    found = by_agent([bob, REPLICA, replace(REPLICA, instance="i2")])

    assert [(each["agent"], each["replicas"]) for each in found] == [("ada", 2), ("bob", 1)]


def test_the_numbers_of_replicas_are_added_and_their_medians_averaged() -> None:
    second = replace(REPLICA, instance="i2", done=1, p50=20.0, restarts=2, cut=3)
    [found] = by_agent([REPLICA, second])

    sums = ("done", "failed", "in_flight", "concurrency", "tokens", "cost", "restarts", "cut")
    assert [found[name] for name in sums] == [4, 2, 4, 16, 200, 1.0, 2, 3]
    assert found["p50"] == 15.0
    assert found["capabilities"] == ["a", "b"]


def test_an_unknown_cost_makes_the_sum_unknown_and_an_unknown_median_does_not_count() -> None:
    [found] = by_agent([REPLICA, replace(REPLICA, instance="i2", cost=None, p50=None)])

    assert found["cost"] is None
    assert found["p50"] == 10.0
    assert by_agent([replace(REPLICA, p50=None)])[0]["p50"] is None


def test_the_newest_entry_describes_the_agent() -> None:
    newest = replace(REPLICA, instance="i2", seen=61.0, revision="r2", description="new")
    [found] = by_agent([newest, REPLICA])

    assert (found["description"], found["revision"]) == ("new", "r2")
    assert found["revisions"] == ["r1", "r2"]


def test_a_replica_that_is_not_ready_or_has_a_refused_edit_is_shown() -> None:
    ill = replace(REPLICA, instance="i2", state="failing: no key", refused=["a.yaml:1: no"])
    [found] = by_agent([REPLICA, ill, replace(ill, instance="i3")])

    assert found["state"] == "failing: no key"
    assert found["refused"] == ["a.yaml:1: no"]
    assert by_agent([REPLICA])[0]["state"] == "ready"


def test_the_replicas_are_listed_the_oldest_first() -> None:
    older = replace(REPLICA, instance="i2", started=40.0)
    [found] = by_agent([REPLICA, older])

    assert [each["instance"] for each in found["instances"]] == ["i2", "i1"]
    assert found["instances"][1] == {"instance": "i1", "host": "h", "pid": 1, "revision": "r1"}


async def test_an_agent_is_found_behind_the_entries_of_a_stranger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "Newest", partial(Newest, size=10_000))
    bus = cast("Bus", MemoryBus())
    for number in range(20):
        large = replace(REPLICA, agent=f"x{number}", description="x" * 2_000)
        await announce(bus, "dev", large, heartbeat=60, wait=True)
    await announce(bus, "dev", REPLICA, heartbeat=60, wait=True)
    found = {each.agent for each in await online(bus, "dev")}
    assert "ada" in found
    assert len(found) < 6


async def test_of_many_heartbeats_some_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "Room", partial(Room, records=5))
    bus = cast("Bus", MemoryBus())
    for number in range(20):
        beat = new("event", {"instance": f"i{number}"}, source=AgentIdentity(id="stranger"))
        await bus.request(Subjects("dev").event("status", "heartbeat"), encode(beat))
    assert len(await registry._recently_online(bus, "dev")) == 5  # pyright: ignore[reportPrivateUsage]
