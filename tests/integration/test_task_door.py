"""Tasks over HTTP: a real server, real agents, real NATS."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from agentd.doors.app import every_door
from agentd.doors.backend import Backend
from agentd.doors.ending import Ending
from agentd.nats import jetstream
from agentd.nats.streams import LOG
from agentd.protocol.message import decode, encode, new_id
from agentd.runtime.cancellation import cancel
from agentd.settings import Settings
from tests.integration.conftest import Team
from tests.integration.serving import serving
from tests.waiting import PATIENCE

ECHO = "description: Echo.\ncapabilities: [echoing]\nmodel: mock/echo\n"
FILE = {"name": "a", "data": "!"}
OTHER = "description: Other.\ncapabilities: [others]\nmodel: mock/echo\n"
SLOW = """
description: Slow.
capabilities: [slow]
limits: {concurrency: 1}
model: {name: mock/script, script: [{text: One two three., latency: 1s, chunks: 3, interval: 50ms}]}
"""


@dataclass(frozen=True)
class Event:
    kind: str
    data: Any
    id: str


class Client:
    """A program that speaks HTTP."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def post(
        self, path: str, body: Any, status: int = 202, **headers: str
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.post(self.url + path, data=data, headers=headers) as response:
            text = await response.text()
            assert response.status == status, text
            return json.loads(text), response.headers

    async def get(self, path: str, status: int = 200) -> dict[str, Any]:
        async with self.session.get(self.url + path) as response:
            text = await response.text()
            assert response.status == status, text
            return json.loads(text)

    async def state(self, task: str, state: str) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await self.get(f"/api/tasks/{task}")
                if found["state"] == state:
                    return found
                await asyncio.sleep(0.02)

    async def events(self, path: str, after: str = "") -> AsyncIterator[Event]:
        headers = {"Last-Event-ID": after} if after else {}
        async with self.session.get(self.url + path, headers=headers) as response:
            assert response.status == 200, await response.text()
            assert response.headers["Content-Type"].startswith("text/event-stream")
            async for event in events_of(response):
                yield event


async def events_of(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    fields: dict[str, str] = {}
    async for line in response.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif "event" in fields:
            yield Event(fields["event"], json.loads(fields["data"]), fields.get("id", ""))
            fields = {}


@pytest.fixture
def draining() -> Ending:
    return Ending()


@pytest.fixture
async def http(team: Team, draining: Ending) -> AsyncIterator[Client]:
    backend = Backend(
        bus=team.bus,
        subjects=team.subjects,
        settings=Settings(),
        metrics=team.metrics,
        specs=dict,
        draining=draining,
        cancel=cancel,
    )
    patience = aiohttp.ClientTimeout(total=PATIENCE)
    async with (
        serving(doors=every_door()[0], backend=backend) as server,
        aiohttp.ClientSession(timeout=patience) as session,
    ):
        assert server.url
        yield Client(server.url, session)


async def test_a_task_is_stored_and_then_done(team: Team, http: Client) -> None:
    await team.run(echo=ECHO)
    task, headers = await http.post("/api/tasks", {"target": "echoing", "content": "hi"})
    assert task["state"] == "queued"
    assert task["target"] == "echoing.general"
    assert headers["Location"] == task["links"]["self"] == f"/api/tasks/{task['id']}"
    done = await http.state(task["id"], "done")
    assert done["result"]["success"]
    assert done["result"]["agent"] == "echo"
    assert (done["attempts"], done["conversation"]) == (1, task["id"])


async def test_a_caller_may_wait_for_the_result(team: Team, http: Client) -> None:
    await team.run(echo=ECHO, slow=SLOW)
    body = {"target": "@echo", "content": {"instruction": "hi"}, "conversation": "a/b ü"}
    done, headers = await http.post("/api/tasks", body, 200, Prefer="respond-async, wait=20")
    assert (done["state"], done["conversation"]) == ("done", "a/b ü")
    assert headers["Preference-Applied"] == "wait=20"
    body = {"target": "slow", "content": "hi"}
    queued, _ = await http.post("/api/tasks", body, 202, Prefer='wait="1"')
    assert queued["state"] == "queued"
    assert (await http.state(queued["id"], "done"))["result"]["data"] == "One two three."


async def test_all_fields_reach_the_agent(team: Team, http: Client) -> None:
    await team.run(echo=ECHO)
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\nxyz").decode()
    body = {
        "target": "echoing.loud",
        "content": "look",
        "conversation": "c1",
        "priority": 8,
        "timeout": "5m",
        "constraints": {"maxCost": 0.5, "maxTokens": 1000},
        "files": [{"name": "a.png", "data": picture}],
        "metadata": {"user": "u1"},
    }
    task, _ = await http.post("/api/tasks", body)
    found = await jetstream.last(team.bus, LOG, team.subjects.task("echoing", "loud", 8))
    assert found
    message = decode(found.data)
    assert message.id == task["id"]
    assert message.source.id == "local"
    assert message.routing.timeout == 300_000
    assert message.context.metadata == {"user": "u1"}
    assert message.payload.constraints.max_cost == 0.5
    assert message.payload.content["instruction"] == "look"
    assert message.payload.content["parts"][0]["name"] == "a.png"


async def test_a_key_makes_a_repeated_request_one_task(team: Team, http: Client) -> None:
    await team.run(echo=ECHO)
    body = {"target": "echoing", "content": "hi"}
    key = {"Idempotency-Key": "order-7"}
    many = [http.post("/api/tasks", body, 202, **key) for _ in range(8)]
    ids = {task["id"] for task, _ in await asyncio.gather(*many)}
    assert len(ids) == 1
    done, _ = await http.post("/api/tasks", body, 200, Prefer="wait=20", **key)
    assert done["id"] in ids
    refused, _ = await http.post("/api/tasks", {**body, "content": "other"}, 422, **key)
    assert refused["code"] == "idempotency_conflict"
    headers = {"Accept": "text/event-stream", **key}
    async with http.session.post(f"{http.url}/api/tasks", json=body, headers=headers) as response:
        assert [event.kind async for event in events_of(response)] == ["result"]


@pytest.mark.parametrize(
    ("body", "status", "code", "text"),
    [
        (b"{", 400, "malformed", "JSON"),
        (b"[]", 400, "malformed", "must be a JSON object"),
        ({"content": 1}, 400, "malformed", "target: is required"),
        ({"target": "x"}, 400, "malformed", "content: is required"),
        ({"target": "x", "content": 1, "prio": 1}, 400, "malformed", "prio: is no such field"),
        ({"target": "a b", "content": 1}, 400, "malformed", "is no target"),
        ({"target": "x", "content": 1, "priority": 10}, 400, "malformed", "priority"),
        ({"target": "x", "content": 1, "timeout": "soon"}, 400, "malformed", "duration"),
        (
            {"target": "x", "content": 1, "constraints": {"max_cost": 1}},
            400,
            "malformed",
            "maxCost",
        ),
        (
            {"target": "x", "content": 1, "files": [{"name": "a", "data": "!"}]},
            400,
            "malformed",
            "64",
        ),
        ({"target": "nobody", "content": 1}, 404, "no_taker", "no agent online"),
    ],
)
async def test_a_wrong_task_is_refused_with_its_place(
    http: Client, body: Any, status: int, code: str, text: str
) -> None:
    refused, headers = await http.post("/api/tasks", body, status)
    assert headers["Content-Type"] == "application/problem+json"
    assert refused["code"] == code
    assert text in refused["detail"]


async def test_unknown_tasks_and_bad_ids(http: Client) -> None:
    for name in (new_id(), "a b", "ü", "x" * 65):
        refused = await http.get(f"/api/tasks/{name}", 404)
        assert refused["code"] == "unknown_task"
        assert (await http.get(f"/api/tasks/{name}/stream", 404))["code"] == "unknown_task"
        await http.post(f"/api/tasks/{name}/cancel", {}, 404)


async def test_a_stream_has_the_pieces_and_the_result(team: Team, http: Client) -> None:
    await team.run(slow=SLOW)
    task, _ = await http.post("/api/tasks", {"target": "slow", "content": "hi"})
    events = [event async for event in http.events(task["links"]["stream"])]
    *pieces, last = events
    assert {event.kind for event in pieces} == {"delta"}
    assert "".join(event.data["text"] for event in pieces) == "One two three."
    assert last.kind == "result"
    assert last.data["result"]["data"] == "One two three."

    place = pieces[0].id
    again = [event async for event in http.events(task["links"]["stream"], place)]
    assert [each.id for each in again] == [each.id for each in events[1:]]
    async with http.session.get(
        http.url + task["links"]["stream"], headers={"Last-Event-ID": "result"}
    ) as response:
        assert response.status == 204
    late = [event async for event in http.events(task["links"]["stream"])]
    assert [event.kind for event in late] == ["result"]
    async with http.session.get(http.url + task["links"]["stream"] + "?after=junk") as response:
        assert response.status == 400, await response.text()


async def test_a_task_can_be_sent_and_streamed_at_once(team: Team, http: Client) -> None:
    await team.run(slow=SLOW)
    body = {"target": "slow", "content": "hi"}
    headers = {"Accept": "text/event-stream"}
    async with http.session.post(f"{http.url}/api/tasks", json=body, headers=headers) as response:
        assert response.status == 200
        place = response.headers["Location"]
        events = [event async for event in events_of(response)]
    assert "".join(e.data["text"] for e in events if e.kind == "delta") == "One two three."
    assert events[-1].data["id"] == place.rpartition("/")[2]
    refused, _ = await http.post("/api/tasks", {"target": "x", "content": 1}, 404, **headers)
    assert refused["code"] == "no_taker"


async def test_a_drain_asks_the_client_to_come_back(
    team: Team, http: Client, draining: Ending
) -> None:
    await team.run(slow=SLOW)
    task, _ = await http.post("/api/tasks", {"target": "slow", "content": "hi"})
    waiting = asyncio.create_task(
        http.post("/api/tasks", {"target": "slow", "content": "x"}, 202, Prefer="wait=30")
    )
    async with http.session.get(http.url + task["links"]["stream"]) as response:
        assert await response.content.readline() == b"retry: 1000\n"
        draining.set()
        rest = await response.content.read()
    assert rest.endswith(b"retry: 1000\n\n")
    queued, _ = await waiting
    assert queued["state"] == "queued"


async def test_a_task_is_cancelled(team: Team, http: Client) -> None:
    await team.run(slow=SLOW)
    running, _ = await http.post("/api/tasks", {"target": "slow", "content": "1"})
    queued, _ = await http.post("/api/tasks", {"target": "slow", "content": "2"})
    await http.state(running["id"], "running")
    await http.state(queued["id"], "queued")
    for task, state in ((queued, "waiting"), (running, "running")):
        cancelled, _ = await http.post(f"/api/tasks/{task['id']}/cancel", {}, 200)
        assert cancelled == {"task": task["id"], "ended": {state: 1}}
        done = await http.state(task["id"], "done")
        assert done["result"]["error"]["code"] == "cancelled"


async def test_a_conversation_is_cancelled(team: Team, http: Client) -> None:
    await team.run(slow=SLOW)
    body = {"target": "slow", "content": "hi", "conversation": "a/b"}
    task, _ = await http.post("/api/tasks", body)
    cancelled, _ = await http.post("/api/conversations/cancel", {"conversation": "a/b"}, 200)
    assert cancelled["conversation"] == "a/b"
    done = await http.state(task["id"], "done")
    assert done["result"]["error"]["code"] == "cancelled"
    await http.post("/api/conversations/cancel", {"conversation": ""}, 400)


async def test_a_suspended_task_says_what_it_waits_for(team: Team, http: Client) -> None:
    from agentd.protocol.message import AgentIdentity, new
    from agentd.queue.decisions import REQUESTED

    task = new("task", "x", source=AgentIdentity(id="you"))
    content = {
        "event": REQUESTED,
        "task": task.id,
        "agent": "payer",
        "life": 1,
        "turn": 2,
        "calls": [{"index": 0, "name": "refund", "arguments": {"amount": 5}}],
        "expires": "2099-01-01T00:00:00Z",
    }
    event = task.reply("event", content, source=AgentIdentity(id="payer"))
    subject = team.subjects.event("approval", task.id)
    await jetstream.store(team.bus, subject, encode(event), message_id=event.id)
    found = await http.get(f"/api/tasks/{task.id}")
    assert found["state"] == "suspended"
    assert found["waiting"]["calls"][0]["name"] == "refund"
    assert found["waiting"]["expires"] == "2099-01-01T00:00:00+00:00"
    events = http.events(f"/api/tasks/{task.id}/stream")
    assert (await anext(events)).kind == "waiting"


async def test_the_agents_online(team: Team, http: Client) -> None:
    await team.run(echo=ECHO, slow=SLOW)
    agents = (await http.get("/api/agents"))["agents"]
    assert [(each["agent"], each["capabilities"]) for each in agents] == [
        ("echo", ["echoing"]),
        ("slow", ["slow"]),
    ]


async def test_the_openapi_document_has_what_agents_accept(team: Team, http: Client) -> None:
    accepts = "accepts: {type: object, properties: {n: {type: integer}}, required: [n]}\n"
    await team.run(echo=ECHO + accepts)

    document, contents = dict[str, Any](), dict[str, Any]()
    async with asyncio.timeout(PATIENCE):
        while "echo" not in contents:  # the directory hears of it a moment later
            document = await http.get("/openapi.json")
            contents = document["components"]["schemas"]["NewTask"]["x-agentd-content"]
    assert "/api/tasks/{id}/stream" in document["paths"]
    assert contents["echo"]["required"] == ["n"]
    refused, _ = await http.post("/api/tasks", {"target": "echoing", "content": {}}, 422)
    assert refused["code"] == "invalid_input"


async def forged(team: Team, name: str) -> None:
    """Another client has a task of the same id answered by another agent."""
    await team.send(team.subjects.task("others", "x"), {"id": name, "payload": {"content": "no"}})
    await team.result(team.subjects.result("others", "x", name))


async def test_another_task_of_the_same_id_has_another_result(team: Team, http: Client) -> None:
    await team.run(echo=ECHO, other=OTHER)
    body, key = {"target": "echoing", "content": "hi"}, {"Idempotency-Key": "k"}
    sent, _ = await http.post("/api/tasks", body, 200, Prefer="wait=20", **key)
    await team.result(team.subjects.result("echoing", "general", sent["id"]))
    await forged(team, sent["id"])
    found = await http.get(f"/api/tasks/{sent['id']}")
    again, _ = await http.post("/api/tasks", body, 200, Prefer="wait=20", **key)
    *_, end = [event async for event in http.events(f"/api/tasks/{sent['id']}/stream")]
    for each in (sent, found, again, end.data):
        assert each["result"]["agent"] == "echo"


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "k"}])
async def test_who_waits_for_a_task_gets_no_result_of_another(
    team: Team, http: Client, key: dict[str, str]
) -> None:
    await team.run(slow=SLOW, other=OTHER)
    body = {"target": "slow", "content": "hi"}
    waiting = asyncio.create_task(
        http.post("/api/tasks", body, 200, Prefer="wait=60", **key), name="who waits"
    )
    name = (await team.result(team.subjects.pattern("task.slow.general.*"))).id
    events = asyncio.create_task(last_of(http, f"/api/tasks/{name}/stream"), name="who reads")
    await forged(team, name)
    assert (await waiting)[0]["result"]["agent"] == "slow"
    assert (await events).data["result"]["agent"] == "slow"


async def last_of(http: Client, path: str) -> Event:
    *_, last = [event async for event in http.events(path)]
    return last
