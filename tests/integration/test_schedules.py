"""Schedules on the real server: those of agents, messages for later, and what it accepts."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from agentd.errors import Conflict, NotStored, TaskError
from agentd.manifest.cron import parse
from agentd.nats import jetstream, schedules, streams
from agentd.nats.bus import Bus
from agentd.nats.schedules import ScheduleEntry, Timing
from agentd.nats.streams import LOG, WORK
from agentd.protocol.destination import Destination
from agentd.protocol.message import AgentIdentity, decode, new
from agentd.protocol.subjects import Subjects
from agentd.routing.ask import send_later
from agentd.settings import Settings
from tests import nats_servers, time_zones

if TYPE_CHECKING:
    from tests.integration.conftest import Team

HOUR = 3600.0


def entry(
    subjects: Subjects, timing: Timing, data: bytes = b"{}", name: str = "x"
) -> ScheduleEntry:
    return ScheduleEntry(
        subject=subjects.schedule("agent", name),
        target=subjects.task_for(name),
        data=data,
        timing=timing,
        headers={"Agentd-Note": "t1"},
    )


async def recorded(bus: Bus, pattern: str, count: int = 1) -> list[Any]:
    """The messages on `pattern`, once there are `count`."""
    async with asyncio.timeout(20):
        while True:
            found = [msg async for msg in jetstream.stored(bus, LOG, pattern)]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.05)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        for delay in itertools.repeat(0.05):
            if await condition():
                return
            await asyncio.sleep(delay)


async def scheduled(team: Team, agent: str) -> ScheduleEntry | None:
    return await schedules.find(team.bus, team.subjects.schedule("agent", agent))


class TestTheServer:
    async def test_a_copy_reaches_work_with_our_headers(self, bus: Bus, subjects: Subjects) -> None:
        later = entry(subjects, Timing.at(time.time()), b'{"payload": {"content": 1}}')
        assert await schedules.put(bus, later)
        [task] = await recorded(bus, later.target)
        assert task.headers["Agentd-Note"] == "t1"
        assert task.headers["Nats-Scheduler"] == later.subject
        assert await schedules.find(bus, later.subject) is None
        await recorded_in_work(bus, subjects)

    async def test_an_equal_schedule_is_not_written_again(
        self, bus: Bus, subjects: Subjects
    ) -> None:
        hourly = entry(subjects, Timing.every(HOUR))
        assert await schedules.put(bus, hourly)
        before = await schedules.find(bus, hourly.subject)
        assert not await schedules.put(bus, hourly)
        assert await schedules.find(bus, hourly.subject) == before
        assert await schedules.put(bus, entry(subjects, Timing.every(HOUR), b"other"))
        [other] = [each async for each in schedules.pending(bus, subjects.schedule("agent", "*"))]
        assert other.data == b"other"
        assert await schedules.remove(bus, hourly.subject)
        assert not await schedules.remove(bus, hourly.subject)

    async def test_concurrent_writers_store_one_schedule(
        self, bus: Bus, subjects: Subjects
    ) -> None:
        hourly = entry(subjects, Timing.every(HOUR))
        wrote = await asyncio.gather(*(schedules.put(bus, hourly) for _ in range(10)))
        assert sum(wrote) == 1

    async def test_a_schedule_is_published_now_once(self, bus: Bus, subjects: Subjects) -> None:
        await schedules.put(bus, entry(subjects, Timing.at(time.time() + HOUR)))
        there = await schedules.find(bus, subjects.schedule("agent", "x"))
        assert there is not None

        async def publish() -> bool:
            try:
                await schedules.publish_now(bus, there)
            except Conflict:
                return False
            return True

        assert sum(await asyncio.gather(*(publish() for _ in range(5)))) == 1
        assert await schedules.find(bus, there.subject) is None
        assert len(await recorded(bus, there.target)) == 1

    @pytest.mark.parametrize(
        "text",
        ["0 7 * * 1-5", "*/15 9-17 * * mon-fri", "5/20 * * * *", "30 0 12 1 jan,JUL ?", "@weekly"],
    )
    async def test_the_server_accepts_every_cron_that_we_accept(
        self, bus: Bus, subjects: Subjects, text: str
    ) -> None:
        timing = Timing(parse(text).text, "Europe/Berlin")
        assert await schedules.put(bus, entry(subjects, timing))

    @pytest.mark.parametrize(
        "timing",
        [Timing("0 7 * * 1-5"), Timing("0 0 30 2 * *"), Timing("0 0 0 * * *", "No/Where")],
    )
    async def test_the_server_refuses_what_we_refuse(
        self, bus: Bus, subjects: Subjects, timing: Timing
    ) -> None:
        with pytest.raises(NotStored):
            await schedules.put(bus, entry(subjects, timing))


async def recorded_in_work(bus: Bus, subjects: Subjects) -> None:
    async def stored() -> bool:
        return bool(await jetstream.last(bus, WORK, f"work.{subjects.env}._agent.x.5"))

    await until(stored)


class TestAgents:
    async def test_each_task_of_a_schedule_is_its_own_conversation(self, team: Team) -> None:
        await team.run(news="capabilities: [n]\nschedule: {every: 1s, task: Collect.}\n")
        results = await recorded(team.bus, team.subjects.pattern("result._agent.news.*"), 2)
        first, second, *_ = [decode(each.data) for each in results]
        assert first.payload.content["success"]
        assert first.context.conversation_id != second.context.conversation_id

    async def test_replicas_restarts_and_edits_keep_one_schedule(self, team: Team) -> None:
        hourly = "capabilities: [n]\nschedule: {every: 1h, task: Collect.}\n"
        await team.run(news=hourly)
        await until(lambda: is_scheduled(team, "news"))
        before = await scheduled(team, "news")
        await team.run(news=hourly + "description: Another revision.\n")
        await team.run(news=hourly.replace("Collect.", "Find."))
        await until(lambda: differs(team, "news", before))
        await team.run(news="capabilities: [n]\n")
        await until(lambda: is_not_scheduled(team, "news"))

    async def test_the_schedule_goes_with_the_manifest_not_with_the_replica(
        self, team: Team
    ) -> None:
        hourly = "capabilities: [n]\nschedule: {every: 1h, task: Collect.}\n"
        await team.run(news=hourly, mail=hourly)
        await until(lambda: is_scheduled(team, "news"))
        await until(lambda: is_scheduled(team, "mail"))
        (team.folder / "manifests" / "mail.yaml").unlink()
        await team.run(news=hourly)
        await until(lambda: is_not_scheduled(team, "mail"))
        await team.runtime.drain(5)
        assert await is_scheduled(team, "news")

    async def test_a_schedule_that_the_server_lost_is_restored(self, team: Team) -> None:
        await team.run(news="capabilities: [n]\nschedule: {every: 1h, task: Collect.}\n")
        await until(lambda: is_scheduled(team, "news"))
        await schedules.remove(team.bus, team.subjects.schedule("agent", "news"))
        await team.runtime.schedules.restore()
        assert await is_scheduled(team, "news")


async def is_scheduled(team: Team, agent: str) -> bool:
    return await scheduled(team, agent) is not None


async def is_not_scheduled(team: Team, agent: str) -> bool:
    return await scheduled(team, agent) is None


async def differs(team: Team, agent: str, before: ScheduleEntry | None) -> bool:
    now = await scheduled(team, agent)
    return now is not None and before is not None and now.data != before.data


class TestLater:
    async def test_a_task_is_done_when_it_is_due(self, team: Team) -> None:
        await team.run(news="capabilities: [news]\n")
        task = new("task", "hello", source=AgentIdentity(id="me"))
        due = time.time() + 0.5
        await send_later(team.bus, team.subjects, Destination.parse("news"), task, due)
        result = await team.result(team.subjects.result("news", "general", task.id))
        assert result.payload.content["success"]
        [sent] = await recorded(team.bus, team.subjects.task("news", "general", 5))
        assert decode(sent.data).timestamp == due

    async def test_a_task_that_no_agent_takes_is_refused(self, team: Team) -> None:
        task = new("task", "hello", source=AgentIdentity(id="me"))
        with pytest.raises(TaskError, match="no agent online"):
            await send_later(
                team.bus, team.subjects, Destination.parse("news"), task, time.time() + HOUR
            )

    async def test_the_same_id_again_replaces_the_task(self, team: Team) -> None:
        await team.run(news="capabilities: [news]\n")
        task = new("task", "hello", source=AgentIdentity(id="me"))
        for due in (HOUR, 2 * HOUR):
            await send_later(
                team.bus, team.subjects, Destination.parse("news"), task, time.time() + due
            )
        pattern = team.subjects.schedule("message", "*")
        [one] = [each async for each in schedules.pending(team.bus, pattern)]
        assert (one.timing.moment or 0) > time.time() + 1.5 * HOUR


async def test_a_task_whose_successor_is_due_is_not_begun(team: Team) -> None:
    """After a time without a replica, only the newest task of the schedule is run."""
    secondly = entry(team.subjects, Timing.every(1), b'{"payload": {"content": "x"}}', "news")
    await schedules.put(team.bus, secondly)
    await recorded(team.bus, secondly.target, 2)
    await schedules.remove(team.bus, secondly.subject)
    await team.run(news="capabilities: [news]\n")
    [first, *_] = await recorded(team.bus, team.subjects.pattern("result._agent.news.*"))
    assert decode(first.data).payload.content["error"]["code"] == "missed"


class ZoneCase:
    """A schedule that is due at `due`, and again around a clock change of its own time zone."""

    def __init__(self, made: random.Random, file: Path, due: int) -> None:
        offset = made.randrange(-48, 48) * 900
        local = datetime.fromtimestamp(due + offset, UTC)
        midnight = local.replace(hour=0, minute=0, second=0)
        change = midnight + timedelta(days=made.randint(1, 3), hours=made.randint(0, 3))
        change_at = int(change.timestamp()) - offset
        shift = made.choice([3600, 3600, -3600, -3600, 1800, -1800])
        time_zones.write_zone(file, change_at, offset, offset + shift)
        with file.open("rb") as content:
            self.zone = ZoneInfo.from_file(content)
        weekdays = {local.isoweekday() % 7, *made.sample(range(7), 2)}
        hours = {local.hour, *made.sample(range(5), 2)}
        minutes = {local.minute, made.choice([0, 30, 45])}
        days = made.choice(["* * *", f"* * {listed(weekdays)}", f"{local.day},{change.day} * *"])
        self.timing = Timing(
            f"{local.second} {listed(minutes)} {listed(hours)} {days}", f"Test/{file.name}"
        )
        self.next = parse(self.timing.pattern).next_after(due, self.zone)
        # As if the clocks did not change.
        self.unchanged = (parse(self.timing.pattern).next_after(due + offset) or 0) - offset


def listed(values: Iterable[int]) -> str:
    return ",".join(map(str, sorted(values)))


async def test_the_server_counts_clock_changes_as_we_do(tmp_path: Path) -> None:
    """Each copy of a schedule says when the next one comes."""
    made, due = random.Random(1), math.ceil(time.time()) + 5
    (tmp_path / "Test").mkdir()
    names = [f"z{number}" for number in range(200)]
    cases = {name: ZoneCase(made, tmp_path / "Test" / name, due) for name in names}
    config = nats_servers.JETSTREAM.format(folder=tmp_path)
    with nats_servers.server(tmp_path, config, ZONEINFO=str(tmp_path)) as url:
        async with nats_servers.connected(url) as bus:
            await streams.ensure(bus, Settings())
            entries = [
                entry(Subjects("dev"), case.timing, name=name) for name, case in cases.items()
            ]
            await asyncio.gather(*(schedules.put(bus, each) for each in entries))
            assert time.time() < due, "too late: the machine is too slow"
            await asyncio.sleep(due - time.time())
            said: list[float | None] = [None]

            async def all_said() -> bool:
                said[:] = [await schedules.announced(bus, each) for each in entries]
                return None not in said

            await until(all_said)
    assert said == [case.next for case in cases.values()]
    assert sum(case.next != case.unchanged for case in cases.values()) > 20
