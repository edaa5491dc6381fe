"""One trace from the first sender to the last result, on a real server; with spans and without."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from agentd.doors.app import every_door
from agentd.doors.backend import Backend
from agentd.doors.ending import Ending
from agentd.nats import jetstream
from agentd.nats.streams import LOG
from agentd.protocol.message import new_id
from agentd.settings import Settings
from agentd.tools.agent_tool import AgentTools
from tests.integration.serving import serving
from tests.integration.test_approvals import Purse, asked, decided, payer, turn
from tests.integration.test_join import joiner
from tests.integration.test_subscribe import settled, tell
from tests.recorded_spans import Recording, ids, parent, recorded, said
from tests.waiting import until

if TYPE_CHECKING:
    from tests.integration.conftest import Team

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
TRACED = pytest.mark.parametrize("on", [True, False], ids=["spans", "no spans"])

BOSS = """
capabilities: [planning]
tools: [{agent: helper}]
model:
  name: mock/script
  script: [{tool_calls: [{name: helper, arguments: {instruction: Look.}}]}, Done.]
emit: [{event: plan.made}]
"""
HELPER = "capabilities: [helping]\n"
WATCHER = "capabilities: [watching]\nsubscribe: [event.plan.made]\n"


@contextmanager
def tracing(on: bool) -> Generator[Recording | None]:
    with recorded() if on else nullcontext() as found:
        yield found


async def traces(team: Team, pattern: str, count: int = 1) -> list[str]:
    """The trace of each message on these subjects, "" for one without."""

    async def read() -> list[str]:
        stored = jetstream.stored(team.bus, LOG, team.subjects.pattern(pattern))
        headers = [msg.headers or {} async for msg in stored]
        return [each.get("traceparent", "--").split("-")[1] for each in headers]

    found: list[str] = []
    while len(found) < count:
        found = await read()
    return found


@TRACED
async def test_a_tool_call_of_an_agent_and_what_is_emitted_go_on_with_the_trace(
    team: Team, on: bool
) -> None:
    team.openers["agent"] = AgentTools(team.bus, team.subjects)
    await team.run(boss=BOSS, helper=HELPER, watcher=WATCHER)
    with tracing(on) as found:
        await team.send(
            team.subjects.task("planning", "x"), {"payload": {"content": "Go."}}, **PARENT
        )
        for pattern in ("task._agent.helper.*", "event.plan.made", "result.watching.*.*"):
            assert await traces(team, pattern) == [TRACE], pattern
        await settled(team)
        await team.at_rest()
    if found:
        assert {ids(span)[0] for span in found.spans} == {TRACE}
        tool, send = found.one("execute_tool helper"), found.one("send")
        assert parent(send) == ids(tool)[1]
        [helping] = [each for each in found.all("process") if parent(each) == ids(send)[1]]
        assert parent(found.one("invoke_agent helper")) == ids(helping)[1]
        [event] = found.all("create agents." + team.subjects.env + ".event")
        [watching] = [each for each in found.all("process") if parent(each) == ids(event)[1]]
        assert said(watching)["messaging.consumer.group.name"] == "watcher"
        assert found.broken() == []


@TRACED
async def test_a_join_goes_on_with_the_trace_of_the_first_fact_and_links_to_all(
    team: Team, on: bool
) -> None:
    await team.run(joiner=joiner("{wait_for: [event.part.a, event.part.b]}"))
    other = "1" * 32
    with tracing(on) as found:
        for domain, trace in (("a", TRACE), ("b", other)):
            event = {"id": new_id(), "type": "event", "correlationId": "r1"}
            headers = {"traceparent": f"00-{trace}-{domain * 16}-01"}
            await team.send(team.subjects.event("part", domain), event, **headers)
            await settled(team)
        assert await traces(team, "task._agent.joiner.*") == [TRACE]
        assert await traces(team, "result.synthesis.joined.*") == [TRACE]
        await team.at_rest()
    if found:
        [task] = found.all("create agents." + team.subjects.env + ".task")
        assert parent(task) == "a" * 16
        assert [f"{link.context.span_id:016x}" for link in task.links] == ["a" * 16, "b" * 16]


async def test_a_join_of_facts_without_a_trace_runs(team: Team) -> None:
    await team.run(joiner=joiner("{wait_for: [event.part.a, event.part.b]}"))
    for domain in ("a", "b"):
        await tell(team, f"part.{domain}", domain, correlationId="r1")
    assert await traces(team, "task._agent.joiner.*") == [""]


async def test_a_task_that_waits_for_a_decision_has_not_failed_and_stays_in_its_trace(
    team: Team,
) -> None:
    team.openers["agent"] = Purse()
    await team.run(me=payer(turn(5)))
    with recorded() as found:
        task = new_id()
        message = {"id": task, "payload": {"content": "Pay."}}
        await team.send(team.subjects.task("payer", "x"), message, **PARENT)
        await decided(team, await asked(team, task), decision="approve")
        await team.result(team.subjects.result("payer", "x", task))
        await team.at_rest()
    before, after = found.all("invoke_agent")
    assert {ids(before)[0], ids(after)[0]} == {TRACE}
    assert before.status.is_unset
    assert "error.type" not in said(before)


@pytest.fixture
async def hook() -> AsyncIterator[tuple[str, list[dict[str, str]]]]:
    """The address of a receiver of callbacks, and the headers of what it was sent."""
    seen: list[dict[str, str]] = []

    async def take(request: web.Request) -> web.Response:
        seen.append({name.lower(): value for name, value in request.headers.items()})
        return web.Response()

    app = web.Application()
    app.router.add_post("/done", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/done", seen
    await runner.cleanup()


@TRACED
async def test_a_webhook_its_task_and_its_callback_are_one_trace(
    team: Team, hook: tuple[str, list[dict[str, str]]], on: bool
) -> None:
    url, seen = hook
    callback = {"url": url, "allow_private": True}
    trigger = {"webhook": "w", "verify": {"bearer": "t"}, "callback": callback}
    await team.run(a=f"capabilities: [a]\ntriggers: {json.dumps([trigger])}\n")
    with tracing(on) as found:
        async with door(team) as base:
            await post(f"{base}/hooks/w", b"Hi", Authorization="Bearer t", **PARENT)
            await until(lambda: bool(seen))
        assert await traces(team, "task.>") == [TRACE]
        assert seen[0]["traceparent"].split("-")[1] == TRACE
        await until(lambda: not found or bool(found.all("POST")))
    if found:
        trigger_span, send = found.one("trigger a"), found.one("send")
        assert parent(trigger_span) == SPAN
        assert parent(send) == ids(trigger_span)[1]
        assert seen[0]["traceparent"].split("-")[2] == ids(found.one("POST"))[1]


@TRACED
async def test_a_task_over_http_goes_on_with_the_trace_of_its_client(team: Team, on: bool) -> None:
    await team.run(a="capabilities: [a]\n")
    body = json.dumps({"target": "a", "content": "hi"}).encode()
    with tracing(on):
        async with door(team) as base:
            await post(f"{base}/api/tasks", body, **PARENT)
            await post(f"{base}/api/tasks", body)
        first, second = await traces(team, "task.>", 2)
        await team.at_rest()
    assert first == TRACE
    assert second != TRACE  # nothing is left of the request before


class door:
    """The HTTP server of the team's process."""

    def __init__(self, team: Team) -> None:
        agents = team.runtime.agents
        backend = Backend(
            bus=team.bus,
            subjects=team.subjects,
            settings=Settings(env=team.subjects.env),
            metrics=team.metrics,
            specs=lambda: {name: agent.live.spec for name, agent in agents.items()},
            draining=Ending(),
        )
        self._serving = serving(doors=every_door()[0], backend=backend)

    async def __aenter__(self) -> str:
        server = await self._serving.__aenter__()
        assert server.url
        return server.url

    async def __aexit__(self, *error: Any) -> None:
        await self._serving.__aexit__(*error)


async def post(url: str, body: bytes, **headers: str) -> None:
    async with (
        aiohttp.ClientSession() as client,
        client.post(url, data=body, headers=headers) as answer,
    ):
        assert answer.status in (200, 202), await answer.text()
