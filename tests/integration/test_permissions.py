"""What a sender with the permissions of docs/approvals.md cannot do, whatever headers it sets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from agentd.errors import BusError
from agentd.nats import jetstream, schedules, streams
from agentd.nats.bus import Bus
from agentd.nats.schedules import ScheduleEntry, Timing
from agentd.nats.streams import LOG, SCHEDULES
from agentd.protocol.stream_subjects import due
from agentd.protocol.subjects import Subjects
from agentd.queue import decisions
from agentd.settings import Settings
from tests.nats_servers import JETSTREAM, connected, server

DEV = Subjects("dev")
USERS = """
authorization {
  users: [
    {user: agentd, password: x}
    {user: sender, password: x, permissions: {
      publish: ["agents.dev.task.>"]
      subscribe: ["_INBOX.>", "agents.dev.result.>", "agents.dev.stream.>"]}}
  ]
}
"""
REQUEST = {
    "task": "t-1",
    "agent": "analyst",
    "life": 1,
    "turn": 1,
    "calls": [{"index": 0, "name": "refund", "arguments": {}}],
    "expires": "2999-01-01T00:00:00+00:00",
}
APPROVAL = json.dumps({"type": "event", "payload": {"content": {"decision": "approve"}}}).encode()
TASK = DEV.task("analysis", "x")


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    with server(tmp_path, JETSTREAM.format(folder=tmp_path) + USERS) as url:
        yield url


@pytest.fixture
async def agentd(url: str) -> AsyncIterator[Bus]:
    async with connected(url, user="agentd", password="x") as bus:
        await streams.ensure(bus, Settings())
        yield bus


@pytest.fixture
async def sender(agentd: Bus, url: str) -> AsyncIterator[Bus]:
    async with connected(url, user="sender", password="x") as bus:
        yield bus


async def refusal(bus: Bus, headers: Mapping[str, str], subject: str = TASK) -> int:
    answer = await bus.request(subject, APPROVAL, headers=headers)
    return json.loads(answer.data)["error"]["err_code"]


@pytest.mark.parametrize(
    "target",
    [
        DEV.event("approval", "t-1"),
        DEV.event("run", "t-1"),
        DEV.result("analysis", "x", "t-1"),
        TASK,
        due(DEV.event("approval", "t-1")),
    ],
)
async def test_a_sender_can_have_nothing_published_later(sender: Bus, target: str) -> None:
    schedule = {"Nats-Schedule": "@at 2020-01-01T00:00:00Z", "Nats-Schedule-Target": target}
    assert await refusal(sender, schedule) == 10188
    assert await refusal(sender, {"Nats-Schedule-Next": "purge", "Nats-Scheduler": "a.b"}) == 10188


async def test_a_sender_cannot_resume_a_suspended_task(sender: Bus) -> None:
    """agentd takes a task for the copy of a suspended one only if a schedule has published it."""
    copy = {"Agentd-Life": "1", "Agentd-Resumes": "1", "Nats-Scheduler": "sched.dev.approval.t"}
    assert await refusal(sender, copy)


@pytest.mark.parametrize("rollup", ["all", "sub"])
async def test_a_sender_cannot_empty_the_log(sender: Bus, rollup: str) -> None:
    assert await refusal(sender, {"Nats-Rollup": rollup}) == 10111


async def test_nobody_can_purge_the_log(agentd: Bus) -> None:
    await jetstream.store(agentd, TASK, b"{}", message_id="1")
    with pytest.raises(BusError, match="purge"):
        await jetstream.api(agentd, f"STREAM.PURGE.{LOG}")
    assert await jetstream.last(agentd, LOG, TASK) is not None


async def test_a_sender_cannot_pretend_to_be_a_schedule(sender: Bus) -> None:
    assert await refusal(sender, {"Nats-Stream-Source": f"{SCHEDULES} 99 > > due.x"}) == 10227


@pytest.mark.parametrize("subject", [DEV.schedule("message", "x"), due(TASK)])
async def test_a_sender_reaches_no_schedules(sender: Bus, subject: str) -> None:
    with pytest.raises(BusError):
        await sender.request(subject, b"{}", timeout=1)


async def test_a_schedule_publishes_tasks_and_events_only(agentd: Bus) -> None:
    for target in (DEV.result("a", "b", "t"), DEV.dlq("a", "b"), f"{TASK}.urgent"):
        entry = ScheduleEntry(
            subject=DEV.schedule("message", "x"), target=target, data=b"", timing=Timing.at(0)
        )
        with pytest.raises(BusError, match="target is invalid"):
            await schedules.put(agentd, entry)


async def test_an_approval_that_a_schedule_published_does_not_count(agentd: Bus) -> None:
    subject = DEV.event("approval", "t-1")
    request = json.dumps({"type": "event", "payload": {"content": REQUEST}}).encode()
    asked = await jetstream.store(agentd, subject, request, message_id="1")
    entry = ScheduleEntry(
        subject=DEV.schedule("message", "x"),
        target=subject,
        data=APPROVAL,
        timing=Timing.at(time.time()),
    )
    await schedules.put(agentd, entry)
    async with asyncio.timeout(20):
        while (await jetstream.newest(agentd, LOG, subject))[0] == asked:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert (await decisions.read(agentd, DEV, "t-1")).decisions == []
    await jetstream.store(agentd, subject, APPROVAL, message_id="2")
    assert len((await decisions.read(agentd, DEV, "t-1")).decisions) == 1
