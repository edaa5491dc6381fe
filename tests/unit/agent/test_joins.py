"""Facts are gathered into joins: a join that is complete runs once, whichever replica sees it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from agentd.agent.joins import Joins, join_id
from agentd.manifest.flow import Join
from agentd.nats import jetstream, schedules
from agentd.nats.bus import Bus
from agentd.nats.schedules import ScheduleEntry
from agentd.nats.shared_value import Secret
from agentd.nats.streams import LOG
from agentd.protocol.message import AgentMessage, decode
from tests.unit.workbench import Workbench, revision_of

MANIFEST = """
capabilities: [report]
instructions: Hi.
join: {{wait_for: [result.research.*, event.review.done], by: conversation{more}}}
"""


class Gatherer:
    """The joins of the agent `me`, as several replicas see them."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.bench = Workbench(revision_of(folder, MANIFEST.format(more=more)))
        self.replica = self.another()

    def another(self) -> Joins:
        """The joins as another replica knows them: it has seen nothing yet."""
        return Joins(self.bench.services, "me")

    async def add(
        self, subject: str, content: Any = "x", *, replica: Joins | None = None, again: int = 0
    ) -> int:
        """Publishes a fact and adds it, or adds it `again`; returns its sequence."""
        kind = "result" if subject.startswith("result.") else "event"
        body = {
            "type": kind,
            "source": {"id": "digger", "type": "agent"},
            "context": {"conversationId": "c"},
            "payload": {"content": content},
        }
        data = json.dumps(body).encode()
        sequence = again
        if not again:
            answer = await self.bench.bus.request(f"agents.dev.{subject}", data)
            sequence = json.loads(answer.data)["seq"]
        fact = self.bench.delivery(data, subject=f"agents.dev.{subject}", sequence=sequence)
        message = decode(data, type=kind, id=str(sequence))
        await (replica or self.replica).add(fact, message, self.bench.revision.spec)
        return sequence

    async def time_out(self, content: Any) -> None:
        """What the server publishes when the join's timeout is due."""
        due = decode(json.dumps({"payload": {"content": content}}).encode(), type="event")
        await self.replica.give_up(due, self.bench.revision.spec)

    async def timer(self) -> ScheduleEntry | None:
        return await schedules.find(cast("Bus", self.bench.bus), f"sched.dev.join.{NAME}")

    def tasks(self) -> Sequence[AgentMessage]:
        return self.bench.stored("task._agent.me.*")

    def joined(self) -> Mapping[str, Any]:
        [event] = self.bench.stored("event.join.*")
        return event.payload.content


NAME = join_id("dev", "me", Join(wait_for=("result.a.*",), by="conversation"), "c")
TASK = Secret().digest(NAME)


async def test_a_join_that_is_complete_runs_once(tmp_path: Path) -> None:
    gatherer = Gatherer(tmp_path)
    first = await gatherer.add("result.research.climate.t1", {"success": True, "data": "warm"})
    assert gatherer.tasks() == []
    second = await gatherer.add("event.review.done")
    [task] = gatherer.tasks()
    assert (task.id, task.target) == (TASK, "me")
    assert task.payload.content["complete"] is True
    assert [each["data"] for each in task.payload.content["facts"]] == ["warm", "x"]
    assert gatherer.joined() == {
        "event": "joined",
        "agent": "me",
        "task": TASK,
        "complete": True,
        "missing": [],
        "facts": [first, second],
    }
    assert await gatherer.timer() is None


async def test_a_stranger_that_knows_the_name_of_a_join_does_not_prevent_its_start(
    tmp_path: Path,
) -> None:
    gatherer = Gatherer(tmp_path)
    bus = cast("Bus", gatherer.bench.bus)
    await jetstream.store(bus, f"agents.dev.event.join.{NAME}", b"{}", message_id=NAME)
    await jetstream.store(bus, "agents.dev.event.a.b", b"{}", message_id=f"{NAME}.joined")
    await gatherer.add("result.research.climate.t1", {"success": True, "data": "warm"})
    await gatherer.add("event.review.done")
    assert len(gatherer.tasks()) == 1


async def test_a_fact_that_comes_twice_counts_once(tmp_path: Path) -> None:
    gatherer = Gatherer(tmp_path)
    first = await gatherer.add("result.research.climate.t1")
    await gatherer.add("result.research.climate.t1", again=first)
    assert gatherer.tasks() == []
    last = await gatherer.add("event.review.done")
    await gatherer.add("event.review.done", again=last, replica=gatherer.another())
    assert len(gatherer.tasks()) == 1
    assert gatherer.bench.stored("event.join_late.*") == []


async def test_replicas_gather_into_one_join(tmp_path: Path) -> None:
    gatherer = Gatherer(tmp_path)
    await gatherer.add("result.research.climate.t1")
    await gatherer.add("event.review.done", replica=gatherer.another())
    assert len(gatherer.tasks()) == 1


async def test_the_first_fact_sets_the_timer_of_the_join(tmp_path: Path) -> None:
    gatherer = Gatherer(tmp_path, ", timeout: 10m")
    await gatherer.add("result.research.climate.t1")
    timer = await gatherer.timer()
    assert timer
    assert timer.target == "agents.dev.event.join_due.me"
    assert decode(timer.data).payload.content["join"] == NAME
    [state] = gatherer.bench.bus.streams["KV_agentd_joins"].on(f"$KV.agentd_joins.dev.{NAME}")
    assert timer.timing.moment == pytest.approx(json.loads(state.data)["started"] + 600, abs=0.001)


async def test_a_join_may_fail_when_its_time_is_up(tmp_path: Path) -> None:
    gatherer = Gatherer(tmp_path, ", timeout: 10m, on_timeout: fail")
    await gatherer.add("result.research.climate.t1")
    for _ in range(2):
        await gatherer.time_out({"event": "join_due", "join": NAME})
    [result] = gatherer.bench.stored("result.*.*." + TASK)
    assert result.payload.content["error"]["code"] == "join_timeout"
    assert gatherer.joined()["missing"] == ["event.review.done"]
    assert gatherer.tasks() == []


async def test_a_join_whose_time_is_up_runs_with_what_came(tmp_path: Path) -> None:
    gatherer = Gatherer(tmp_path, ", timeout: 10m")
    await gatherer.add("result.research.climate.t1")
    await gatherer.time_out({"event": "join_due", "join": NAME})
    [task] = gatherer.tasks()
    assert task.payload.content["complete"] is False
    assert len(task.payload.content["facts"]) == 1


async def test_a_join_that_outgrows_a_message_fails(tmp_path: Path) -> None:
    """The server stores its state as one message."""
    gatherer = Gatherer(tmp_path)
    gatherer.bench.bus.max_message = 4_500
    for number in range(20):
        await gatherer.add(f"result.research.climate.t{number}")
    [result] = gatherer.bench.stored("result.*.*." + TASK)
    assert result.payload.content["error"]["code"] == "join_too_many"
    assert gatherer.joined()["missing"] == ["event.review.done"]


async def test_a_late_fact_is_recorded_and_ignored(tmp_path: Path) -> None:
    gatherer = Gatherer(tmp_path)
    await gatherer.add("result.research.climate.t1")
    await gatherer.add("event.review.done")
    late = await gatherer.add("result.research.more.t2")
    [event] = gatherer.bench.stored("event.join_late.*")
    assert event.payload.content == {"event": "late", "agent": "me", "task": TASK, "fact": late}
    assert len(gatherer.tasks()) == 1


@pytest.mark.parametrize("content", ["text", None, {}, {"join": 7}, {"join": "a.b"}])
async def test_a_timeout_that_names_no_join_is_ignored(tmp_path: Path, content: Any) -> None:
    gatherer = Gatherer(tmp_path)
    before = dict(gatherer.bench.bus.streams[LOG].messages)
    await gatherer.time_out(content)
    assert gatherer.bench.bus.streams[LOG].messages == before


async def test_a_timeout_of_an_unknown_join_starts_nothing(tmp_path: Path) -> None:
    gatherer = Gatherer(tmp_path)
    await gatherer.time_out({"join": "unknown"})
    assert gatherer.tasks() == []


def test_joins_differ_by_environment_agent_kind_and_key() -> None:
    by_parent = Join(wait_for=("result.a.*",), by="parent")
    conversation = Join(wait_for=("result.a.*",), by="conversation")
    ids = {
        join_id("dev", "me", conversation, "c"),
        join_id("prod", "me", conversation, "c"),
        join_id("dev", "you", conversation, "c"),
        join_id("dev", "me", by_parent, "c"),
        join_id("dev", "me", conversation, "d"),
    }
    assert len(ids) == 5
