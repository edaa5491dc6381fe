"""Workflows over HTTP: real agents that hand on to each other, followed with `?until=`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentd.doors.app import every_door
from agentd.doors.backend import Backend
from agentd.doors.ending import Ending
from agentd.settings import Settings
from tests.integration.conftest import Team
from tests.integration.serving import serving
from tests.integration.test_task_door import Client, Event, draining, events_of, http

__all__ = ["draining", "http"]

SCRIPT = "model: {{name: mock/script, script: [{{text: {}, chunks: 3, interval: 60ms}}]}}\n"
CHAIN = {
    "first": "capabilities: [first]\nemit: [{task: second.draft}]\n"
    + SCRIPT.format("One two three."),
    "second": "capabilities: [second]\nemit: [{event: all.done}]\n"
    + SCRIPT.format("Four five six."),
}
FAILING = {
    "first": "capabilities: [first]\nemit: [{event: all.done}]\n"
    "model: {name: mock/script, script: [{error: {status: 400, message: no}}]}\n"
}
BODY = {"target": "first", "content": "Go."}
STREAM = {"Accept": "text/event-stream"}
UNTIL = "?until=event.all.done"


async def posted(http: Client) -> list[Event]:
    async with http.session.post(
        f"{http.url}/api/tasks{UNTIL}", json=BODY, headers=STREAM
    ) as response:
        assert response.status == 200, await response.text()
        return [event async for event in events_of(response)]


def texts(events: list[Event]) -> list[str]:
    """The answers in the events, in their order."""
    found: dict[str, str] = {}
    for event in events:
        if event.kind == "delta":
            found[event.data["task"]] = found.get(event.data["task"], "") + event.data["text"]
        assert event.kind != "restart"
    return list(found.values())


async def test_a_workflow_is_sent_and_followed_to_its_end(team: Team, http: Client) -> None:
    await team.run(**CHAIN)
    events = await posted(http)
    assert texts(events) == ["One two three.", "Four five six."]
    facts = [each for each in events if each.kind != "delta"]
    assert [(each.kind, each.data["topic"]) for each in facts] == [
        ("fact", "result.first.general"),
        ("fact", "result.second.draft"),
        ("end", "event.all.done"),
    ]
    assert facts[0].data["message"]["payload"]["content"]["data"] == "One two three."
    assert facts[-1].data["message"]["payload"]["content"] == "Four five six."
    task = facts[0].data["message"]["correlationId"]
    await over(http, f"/api/tasks/{task}/stream{UNTIL}", facts[-1].id)
    early, _ = await http.post("/api/tasks", BODY, 202)
    again = [each async for each in http.events(f"{early['links']['stream']}{UNTIL}")]
    assert again[-1].data["topic"] == "event.all.done"


async def over(http: Client, path: str, place: str) -> None:
    """A browser that comes back after the end is sent away."""
    headers = {"Last-Event-ID": place}
    async with http.session.get(http.url + path, headers=headers) as response:
        assert response.status == 204


async def test_another_process_goes_on_at_every_place(team: Team, http: Client) -> None:
    await team.run(**CHAIN)
    task, _ = await http.post("/api/tasks", BODY)
    path = f"{task['links']['stream']}{UNTIL}"
    backend = Backend(
        bus=team.bus,
        subjects=team.subjects,
        settings=Settings(),
        metrics=team.metrics,
        specs=dict,
        draining=Ending(),
    )
    async with serving(doors=every_door()[0], backend=backend) as server:
        assert server.url
        other = Client(server.url, http.session)
        events: list[Event] = []
        # Each event is read over a connection of its own, at one server and then at the other one.
        while not events or events[-1].kind != "end":
            stream = (http, other)[len(events) % 2].events(path, events[-1].id if events else "")
            events.append(await anext(stream))
            await stream.aclose()  # pyright: ignore[reportAttributeAccessIssue]
    assert "".join(texts(events)).startswith("One two three.")
    topics = [each.data["topic"] for each in events if each.kind in ("fact", "end")]
    assert topics == ["result.first.general", "result.second.draft", "event.all.done"]


async def test_a_first_task_that_fails_ends_it(team: Team, http: Client) -> None:
    await team.run(**FAILING)
    [end] = await posted(http)
    assert (end.kind, end.data["topic"]) == ("end", "result.first.general")
    assert not end.data["message"]["payload"]["content"]["success"]
    waited, _ = await http.post(f"/api/tasks{UNTIL}", BODY, 200, Prefer="wait=30")
    assert waited["topic"] == "result.first.general"


async def test_a_caller_may_wait_for_the_end(team: Team, http: Client, draining: Ending) -> None:
    await team.run(**CHAIN)
    end, headers = await http.post(f"/api/tasks{UNTIL}", BODY, 200, Prefer="wait=30")
    assert end["topic"] == "event.all.done"
    assert headers["Preference-Applied"] == "wait=30"
    never = "/api/tasks?until=event.no.such"
    queued, headers = await http.post(never, BODY, 202, Prefer="wait=1")
    assert headers["Location"] == f"/api/tasks/{queued['id']}"
    waiting = asyncio.create_task(http.post(never, BODY, 202, Prefer="wait=60"))
    await http.state(queued["id"], "done")
    draining.set()
    await waiting


@pytest.mark.parametrize(
    "pattern", ["", "event", "task.a.b", "event.a.b.c", "event.>", "event.a b.c"]
)
async def test_a_bad_pattern_is_refused(team: Team, http: Client, pattern: str) -> None:
    await team.run(**CHAIN)
    query = {"until": pattern}
    for method, path in (("POST", "/api/tasks"), ("GET", "/api/tasks/x/stream")):
        body: Any = BODY if method == "POST" else None
        async with http.session.request(
            method, http.url + path, json=body, params=query, headers=STREAM
        ) as response:
            refused = await response.json()
        assert (response.status, refused["code"]) == (400, "malformed")
        assert f"until={pattern!r}" in refused["detail"]
