"""What the page is made of, over real sockets: dead letters, schedules, the graph, what happens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agentd.doors.app import every_door
from agentd.doors.backend import Backend
from agentd.doors.ending import Ending
from agentd.doors.key_file import KeyFile
from agentd.nats import schedules
from agentd.nats.schedules import ScheduleEntry, Timing
from agentd.record.audit.keeper import Keeper
from agentd.settings import Settings
from tests.integration.conftest import Team
from tests.integration.serving import serving
from tests.integration.test_task_door import events_of
from tests.waiting import PATIENCE

KEYS: Mapping[str, tuple[list[str], list[str] | None]] = {
    "ops": (["ask", "read", "operate"], None),
    "viewer": (["read"], None),
    "sender": (["ask"], None),
    "limited": (["read", "operate"], ["other"]),
}
ECHO = "capabilities: [echoing]\nmodel: mock/echo\nemit:\n- {event: echo.heard}\n"
WORKER = "capabilities: [working]\nmodel: mock/echo\naccepts: {type: object}\n"


class Client:
    def __init__(self, url: str, session: aiohttp.ClientSession, keys: Mapping[str, str]) -> None:
        self.url = url
        self.session = session
        self.keys = keys

    def key(self, who: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[who]}"}

    async def ask(self, who: str, line: str, **body: Any) -> tuple[int, Any]:
        """The status of a request such as `GET /api/me`, and its JSON."""
        method, _, path = line.partition(" ")
        data = json.dumps(body) if body else None
        async with self.session.request(
            method, self.url + path, data=data, headers=self.key(who)
        ) as response:
            return response.status, await response.json(content_type=None)


@pytest.fixture
async def http(team: Team, tmp_path: Path) -> AsyncIterator[Client]:
    file = KeyFile(tmp_path / "keys.json")
    keys = {name: file.add(name, may, agents=agents) for name, (may, agents) in KEYS.items()}
    runtime = team.runtime
    backend = Backend(
        bus=team.bus,
        subjects=team.subjects,
        settings=Settings(index=str(tmp_path / "index")),
        metrics=team.metrics,
        specs=lambda: {name: agent.live.spec for name, agent in runtime.agents.items()},
        draining=Ending(),
    )
    patience = aiohttp.ClientTimeout(total=PATIENCE)
    async with (
        serving(doors=every_door()[0], backend=backend, keys=tmp_path / "keys.json") as server,
        aiohttp.ClientSession(timeout=patience) as session,
    ):
        assert server.url
        yield Client(server.url, session, keys)


async def letters(http: Client, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(PATIENCE):
        while True:
            status, found = await http.ask("viewer", "GET /api/dead-letters")
            assert status == 200
            if found["total"] == count:
                return found["letters"]
            await asyncio.sleep(0.02)


async def test_the_key_says_who_asks(http: Client, team: Team) -> None:
    status, me = await http.ask("limited", "GET /api/me")
    assert status == 200
    assert {**me, "version": ""} == {
        "name": "limited",
        "may": ["operate", "read"],
        "agents": ["other"],
        "env": team.subjects.env,
        "version": "",
    }


async def test_the_graph_is_that_of_the_agents_of_the_key(http: Client, team: Team) -> None:
    await team.run(echo=ECHO, other=WORKER)
    _, graph = await http.ask("viewer", "GET /api/topology")
    ids = {node["id"] for node in graph["nodes"]}
    assert {"agent:echo", "task:echoing.*", "event:echo.heard", "agent:other"} <= ids
    _, graph = await http.ask("limited", "GET /api/topology")
    assert {n["id"] for n in graph["nodes"] if n["kind"] == "agent"} == {"agent:other"}
    assert (await http.ask("sender", "GET /api/topology"))[0] == 403


async def test_dead_letters_are_shown_sent_again_and_dropped(http: Client, team: Team) -> None:
    await team.run(other=WORKER)
    subject = team.subjects.task_for("other")
    await team.send(subject, b"<script>alert(1)</script>")
    await team.send(team.subjects.task("working", "x"), b"no message")
    newer, older = sorted(await letters(http, 2), key=lambda each: -each["letter"])
    assert older["reason"] == "malformed"
    status, whole = await http.ask("viewer", f"GET /api/dead-letters/{older['letter']}")
    assert (status, whole["message"]) == (200, "<script>alert(1)</script>")
    _, seen = await http.ask("limited", "GET /api/dead-letters")
    assert [each["letter"] for each in seen["letters"]] == [older["letter"]]
    hidden = await http.ask("limited", f"POST /api/dead-letters/{newer['letter']}/drop")
    assert (hidden[0], hidden[1]["code"]) == (404, "unknown_letter")
    line = f"POST /api/dead-letters/{older['letter']}/retry"
    assert (await http.ask("viewer", line))[0] == 403
    assert await http.ask("ops", line) == (
        200,
        {"letter": older["letter"], "task": older["task"], "done": "retried"},
    )
    again = await letters(http, 2)  # it is malformed as before
    assert older["letter"] not in [each["letter"] for each in again]
    for each in again:
        status, _ = await http.ask("ops", f"POST /api/dead-letters/{each['letter']}/drop")
        assert status == 200
    assert await letters(http, 0) == []
    for name in ("1", "x", "%C2%B2"):
        assert (await http.ask("ops", f"POST /api/dead-letters/{name}/drop"))[0] == 404


async def test_schedules_are_listed_and_removed(http: Client, team: Team) -> None:
    await team.run(other=WORKER + "schedule: {every: 1h, task: {}}\n")
    later = ScheduleEntry(
        subject=team.subjects.schedule("message", "m1"),
        target=team.subjects.task("working", "x"),
        data=b'{"payload": {"content": "soon"}}',
        timing=Timing.at(4_000_000_000),
    )
    await schedules.put(team.bus, later)
    async with asyncio.timeout(PATIENCE):
        while True:  # the schedule of an agent is stored after it runs
            status, found = await http.ask("viewer", "GET /api/schedules")
            if status != 200 or len(found["schedules"]) == 2:
                break
            await asyncio.sleep(0.05)
    assert status == 200
    assert [(each["id"], each["when"]) for each in found["schedules"]] == [
        ("@other", "every 1h"),
        ("m1", "once"),
    ]
    assert found["schedules"][1]["content"] == "soon"
    _, mine = await http.ask("limited", "GET /api/schedules")
    assert [each["id"] for each in mine["schedules"]] == ["@other"]
    assert (found["total"], mine["total"]) == (2, 1)
    assert (await http.ask("viewer", "DELETE /api/schedules/m1"))[0] == 403
    assert (await http.ask("limited", "DELETE /api/schedules/m1"))[0] == 403
    assert await http.ask("ops", "DELETE /api/schedules/m1") == (200, {"removed": "m1"})
    again = await http.ask("ops", "DELETE /api/schedules/m1")
    assert (again[0], again[1]["code"]) == (409, "not_removed")
    status, online = await http.ask("ops", "DELETE /api/schedules/@other")
    assert (status, online["code"]) == (409, "not_removed")
    assert "from its manifest instead" in online["detail"]


async def test_what_happens_is_one_stream(http: Client, team: Team) -> None:
    await team.run(echo=ECHO)
    url = f"{http.url}/api/live"
    seen: list[dict[str, Any]] = []
    async with http.session.get(url, headers=http.key("viewer")) as response:
        events = events_of(response)
        first = await anext(events)
        assert first.kind == "agents"
        assert [each["agent"] for each in first.data["agents"]] == ["echo"]
        await http.ask("ops", "POST /api/tasks", target="echoing", content="hello there")
        async with asyncio.timeout(PATIENCE):
            async for event in events:
                if event.kind == "flow":
                    seen += event.data["messages"]
                    assert event.data["changed"] in (["tasks"], [])
                if {"task", "result", "event"} <= {each["type"] for each in seen}:
                    break
    task = next(each for each in seen if each["type"] == "task")
    assert (task["domain"], task["agent"], task["text"]) == ("echoing", "ops", "hello there")
    result = next(each for each in seen if each["type"] == "result")
    assert (result["agent"], result["task"], result["failed"]) == ("echo", task["task"], False)


async def test_a_stream_shows_only_the_agents_of_the_key(http: Client, team: Team) -> None:
    await team.run(echo=ECHO, other=WORKER)
    async with http.session.get(f"{http.url}/api/live", headers=http.key("limited")) as response:
        events = events_of(response)
        first = await anext(events)
        assert [each["agent"] for each in first.data["agents"]] == ["other"]
        await team.ask("echoing", "secret")
        await http.ask("ops", "POST /api/tasks", target="@other", content={"n": 1})
        seen: list[str] = []
        async with asyncio.timeout(PATIENCE):
            while "result" not in seen:
                event = await anext(events)
                assert "secret" not in json.dumps(event.data)
                seen += [each["type"] for each in event.data.get("messages", ())]


async def test_strange_messages_do_not_end_the_stream(http: Client, team: Team) -> None:
    await team.run(echo=ECHO)
    async with http.session.get(f"{http.url}/api/live", headers=http.key("viewer")) as response:
        events = events_of(response)
        await anext(events)
        subjects = team.subjects
        await team.bus.publish(subjects.event("a", "b"), b"\xff\x00")
        await team.bus.publish(subjects.event("a", "c"), b"x" * 300_000)
        await team.bus.publish(subjects.event("a", "d") + ".too.deep", b"{}")
        await team.bus.publish(subjects.pattern("task.x"), b"{}")
        async with asyncio.timeout(PATIENCE):
            texts: list[str] = []
            while len(texts) < 4:
                event = await anext(events)
                texts += [each["text"] for each in event.data.get("messages", ())]
    assert texts[0] == "2 bytes that are no message"
    assert texts[1] == "300,000 bytes"


async def recorded(http: Client, query: str, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(PATIENCE):
        while True:
            status, found = await http.ask("viewer", f"GET /api/record/tasks?{query}")
            assert status == 200
            if len(found["tasks"]) == count:
                return found["tasks"]
            await asyncio.sleep(0.05)


async def test_the_record_is_searched_and_traced(http: Client, team: Team) -> None:
    await team.run(echo=ECHO, other=WORKER)
    await team.ask("echoing", "a needle in the hay")
    await team.ask("echoing", "something else")
    [found] = await recorded(http, "text=needle", 1)
    assert (found["asked"], found["agent"], found["success"]) == (
        "a needle in the hay",
        "echo",
        True,
    )
    assert len(await recorded(http, "agent=echo&since=1h", 2)) == 2
    assert await recorded(http, "state=failed", 0) == []
    status, trace = await http.ask("viewer", f"GET /api/record/traces/{found['task']}")
    assert (status, trace["asked"]) == (200, found["task"])
    [task] = [each for each in trace["tree"]["children"] if each["kind"] == "task"]
    assert task["name"] == "echo"
    [sequence] = task["sequences"]
    status, record = await http.ask("viewer", f"GET /api/record/messages/{sequence}")
    assert record["message"]["payload"]["content"] == "a needle in the hay"
    status, sent = await http.ask("viewer", f"GET /api/record/tasks/{found['task']}/calls")
    [call] = sent["calls"]
    assert (status, call["life"], call["turn"], call["model"]) == (200, 1, 1, "mock/echo")
    assert [each["role"] for each in call["messages"]] == ["system", "user"]
    assert call["messages"][1]["content"] == "a needle in the hay"
    status, costs = await http.ask("viewer", "GET /api/record/costs?by=agent&since=1d")
    assert [(each["group"], each["tasks"]) for each in costs["costs"]] == [("echo", 2)]
    assert (costs["total"]["tasks"], costs["more"]) == (2, 0)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("traces/nothing", 404),
        ("messages/999999999999", 404),
        ("messages/x", 404),
        ("messages/%C2%B2", 404),
        ("costs?by=weather", 400),
        ("tasks?since=yesterday", 400),
        ("tasks?limit=many", 400),
        ("revisions/a.b", 404),
        ("revisions/echo/nothing/changes", 404),
    ],
)
async def test_what_is_not_on_record_is_refused(
    http: Client, team: Team, path: str, status: int
) -> None:
    assert (await http.ask("viewer", f"GET /api/record/{path}"))[0] == status


@pytest.mark.parametrize(
    "path", ["tasks", "tasks/x/calls", "traces/x", "messages/1", "costs", "revisions/echo"]
)
async def test_a_key_for_some_agents_reads_no_others(http: Client, team: Team, path: str) -> None:
    assert (await http.ask("limited", f"GET /api/record/{path}"))[0] == 403
    assert (await http.ask("sender", f"GET /api/record/{path}"))[0] == 403


async def revisions(http: Client, count: int) -> list[str]:
    async with asyncio.timeout(PATIENCE):
        while True:
            _, found = await http.ask("viewer", "GET /api/record/revisions/echo")
            if len(found["revisions"]) == count:
                return [each["revision"] for each in found["revisions"]]
            await asyncio.sleep(0.05)


async def test_what_changed_with_a_revision(http: Client, team: Team) -> None:
    await team.run(echo=ECHO + "instructions: Be kind.\n")
    await revisions(http, 1)
    await team.run(echo=ECHO + "instructions: Be unkind.\n")
    newest, first = await revisions(http, 2)
    path = "GET /api/record/revisions/echo"
    _, changes = await http.ask("viewer", f"{path}/{newest}/changes")
    assert (changes["before"], changes["after"]) == (first, newest)
    [change] = changes["changes"]
    assert "-instructions: Be kind." in change["lines"]
    assert "+instructions: Be unkind." in change["lines"]
    assert (await http.ask("viewer", f"{path}/{first}/changes"))[1]["changes"] == []
    _, back = await http.ask("viewer", f"{path}/{first}/changes?since={newest}")
    assert "+instructions: Be kind." in back["changes"][0]["lines"]


async def test_the_audit_is_read_and_compared(http: Client, team: Team) -> None:
    missing = await http.ask("viewer", "GET /api/audit")
    assert (missing[0], missing[1]["code"]) == (404, "no_audit")
    await team.run(echo=ECHO)
    await team.ask("echoing", "to be signed")
    keeper = Keeper(team.bus, team.subjects.env, "page")
    keeper.open()
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                status, found = await http.ask("viewer", "GET /api/audit")
                if status == 200:
                    break
                await asyncio.sleep(0.05)
        assert found["note"].splitlines()[1] == str(found["size"])
        assert 0 < found["last"] <= found["log"]
        assert (await http.ask("viewer", "POST /api/audit/verify"))[0] == 403
        status, report = await http.ask("ops", "POST /api/audit/verify")
        assert (status, report["findings"]) == (200, [])
        assert report["messages"] > 0
    finally:
        await keeper.close()
