"""Garbage in every stream and bucket: each reader skips what it cannot read, and names it once."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
from typer.testing import CliRunner

from agentd.agent.join_state import Gathering
from agentd.agent.outcome import on_record
from agentd.cli import app
from agentd.cli.tap import json_of, line_of
from agentd.manifest.limits import History
from agentd.manifest.rate import Allowance
from agentd.nats import jetstream, schedules
from agentd.nats.bus import Bus, Msg
from agentd.nats.shared_value import Shared
from agentd.nats.streams import BUDGETS, JOINS, LOG, WORK
from agentd.protocol.destination import Destination
from agentd.protocol.message import AgentIdentity, Context, decode, new
from agentd.protocol.server_subjects import bucket
from agentd.protocol.subjects import Subjects, digest
from agentd.queue import approvals, dead_letters
from agentd.queue.cancellations import Scope
from agentd.queue.fact_consumer import heard_by
from agentd.routing import registry
from agentd.routing.ask import ask
from agentd.run.account import Account
from agentd.run.history import Past
from agentd.run.memory import Memory
from agentd.runtime.cancellation import cancel
from agentd.runtime.open_tasks import open_tasks
from agentd.runtime.sharing import AnswerCache, rate_window
from tests.integration.conftest import Team
from tests.waiting import PATIENCE

TOKENS = ("t1", "x" * 70, "ü", "a:b", "-")
CONTENTS: tuple[Any, ...] = (
    None,
    5,
    [[]],
    {"event": []},
    {"event": "heartbeat", "instance": [], "agents": 5},
    {"event": "approval_requested", "task": "t1", "calls": [5], "life": "x"},
    {
        "event": "approval_requested",
        "task": "t1",
        "agent": "a",
        "life": 1,
        "turn": 1,
        "calls": [{"index": 0, "name": "x", "arguments": {}}],
        "expires": "9999-12-31T23:59:59",
    },
    {"event": "turn", "life": 1, "turn": [], "index": {}},
    {"event": "turn", "life": 1, "turn": 1, "index": 0, "completion": {"text": 5}},
    {"event": "tool_answered", "life": 1, "turn": 1, "index": 0},
    {"event": "attempt_failed", "life": 1, "taskSequence": 1},
    {"event": "conversation_exchange", "agent": "a", "user": "u", "assistant": 5},
    {"$object": {"digest": "sha256:gone", "size": 5}},
    {"$object": {"digest": 5}},
    {"success": "maybe", "data": {"$object": {"digest": []}}},
)
BODIES = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b"NaN",
    b'{"at": NaN}\n{}',
    b"\xff\xfe",
    b"[" * 50_000,
    b'"' + b"x" * 300_000 + b'"',
    *(json.dumps({"payload": {"content": content}}).encode() for content in CONTENTS),
)
HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"Status": "404"},
    {"Nats-Sequence": "x", "Nats-Subject": "x", "Nats-Num-Pending": "0"},
    {"Agentd-Life": "9" * 5000, "Agentd-Resumes": "x", "Agentd-Sent-Again": "nan"},
    {"Agentd-Subject": "x", "Agentd-Task": "x" * 70, "Agentd-Reason": "x"},
)
RECORDS = (
    *(
        f"event.{domain}"
        for domain in ("approval", "run", "conversation", "summary", "join", "status", "cancel")
    ),
    "dlq.analysis",
    "result.analysis.x",
)
SCHEDULES: tuple[Literal["agent", "message", "approval", "join"], ...] = (
    "agent",
    "message",
    "approval",
    "join",
)
BUCKETS = ("routes", "agents", "agents.analyst", "budgets", "joins", "rates", "cache")


@pytest.fixture
async def littered(bus: Bus, subjects: Subjects) -> None:
    """Every combination of a subject and a body; the headers in turn."""
    env, headers = subjects.env, itertools.cycle(HEADERS)
    names = {*TOKENS, "heartbeat", "requested", digest("talk"), digest("talk\nanalyst")}
    for record, name, body in itertools.product(RECORDS, sorted(names), BODIES):
        subject = f"agents.{env}.{record}.{name}"
        await bus.publish(subject, body[:1000], headers=next(headers))
    for kind, name, body in itertools.product(SCHEDULES, sorted(names), BODIES):
        await bus.publish(f"sched.{env}.{kind}.{name}", body[:1000], headers=next(headers))
    for name, key, body in itertools.product(BUCKETS, ("k", digest("k")), BODIES):
        kind, _, more = name.partition(".")
        subject = ".".join(filter(None, (f"$KV.agentd_{kind}", env, more, key)))
        await bus.publish(subject, body, headers=next(headers))
        # Each body stays under a key of its own: a bucket keeps one value a key.
        await bus.publish(f"{subject}{BODIES.index(body)}", body, headers=next(headers))
    await bus.fence()


@pytest.fixture
async def team(bus: Bus, subjects: Subjects, littered: None, tmp_path: Path) -> AsyncIterator[Team]:
    """A process that starts beside the garbage."""
    team = Team(bus, subjects, tmp_path)
    await team.runtime.open()
    yield team
    await team.runtime.drain(5)
    await team.models.close()


async def test_every_reader_works_beside_garbage_and_names_it_once(
    team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    bus, subjects = team.bus, team.subjects
    await team.run(analyst="capabilities: [analysis]\nhistory: {}\n")
    for _ in range(2):
        assert [each.agent for each in await registry.online(bus, subjects.env)] == ["analyst"]
        assert [each async for each in dead_letters.listed(bus, subjects)] == []
        assert await approvals.waiting(bus, subjects) == []
        for kind in SCHEDULES:
            found = schedules.pending(bus, subjects.schedule(kind, "*"))
            assert [each async for each in found] == []
        assert [each async for each in open_tasks(bus, subjects)] == []
        await team.runtime.resumer.resume_decided()
        await team.runtime.schedules.restore()
        assert await heard_by(bus, subjects.env, "analyst") == ()
        assert await _recalled(bus, subjects) == Past()
        for stream, parse in ((JOINS, Gathering.parse), (BUDGETS, Account.parse)):
            await _changed(bus, bucket(stream, subjects.env, "k"), stream, parse)
        window = rate_window(bus, subjects.env, "k", Allowance(1, 60.0))
        await window.change(lambda value: value.plus({1: 1.0}))
        for number in range(len(BODIES)):
            assert await AnswerCache(bus, subjects.env).get(f"k{number}", 60) is None
        async for msg in jetstream.stored(bus, LOG, subjects.everything):
            msg.subject = str((msg.headers or {})["Nats-Subject"])
            json.dumps(json_of(msg), allow_nan=False)
            line_of(msg)
    assert (await team.ask("analysis", "hello"))["success"]
    assert (await team.ask("analysis", "hello", context={"conversationId": "talk"}))["success"]

    assert team.bus.background.troubles == {}
    named = [each.getMessage() for each in caplog.records if " is skipped: " in each.getMessage()]
    assert named
    assert [text for text, times in Counter(named).items() if times > 1] == []
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


async def _recalled(bus: Bus, subjects: Subjects) -> Past:
    message = new(
        "task", "x", source=AgentIdentity(id="a"), context=Context(conversation_id="talk")
    )
    memory = Memory(bus, subjects, message, agent=AgentIdentity(id="analyst"))

    async def summarize(_: Past) -> str:
        raise AssertionError("there is nothing to summarize")

    return await memory.recall(History(), summarize)


async def _changed(bus: Bus, subject: str, stream: str, parse: Any) -> None:
    shared: Shared[Any] = Shared(bus, stream, subject, parse=parse, ttl=60)
    await shared.change(lambda value: value)


async def test_garbage_that_arrives_stops_nothing_that_runs(
    team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    """The doorbells, the advisories, and what else a process subscribes to."""
    bus, env = team.bus, team.subjects.env
    await team.run(analyst="capabilities: [analysis]\n")
    places = (
        f"$KV.agentd_routes.{env}.k",
        f"$KV.agentd_stops.{env}.k",
        f"agentd.{env}.cooldown",
        f"ring.{env}.analysis.ü.5",
        f"ring.{env}.x",
        f"stored.{env}.event.x.y",
        f"agents.{env}.event.approval.{'x' * 70}",
        f"agents.{env}.event.cancel.requested",
        f"agents.{env}.query.analysis.ü",
        f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{WORK}.x",
        f"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{WORK}.x",
        "$JS.EVENT.ADVISORY.STREAM.DELETED.x",
    )
    for place, body in itertools.product(places, BODIES):
        if b'"task"' not in body:  # which would be a valid request to cancel it
            await bus.publish(place, body)
    await bus.fence()
    assert (await team.ask("analysis", "hello"))["success"]
    assert team.bus.background.troubles == {}


COMMANDS = {
    "ps": "analyst",
    "ps --json": '"agent": "analyst"',
    "approvals": "",
    "approvals ls --json": "[]",
    "dlq": "no dead letters",
    "dlq ls --json": "[]",
    "dlq retry --all": "",
    "schedules": "",
    "schedules ls --json": "[]",
    "stop": "",
    "route analysis": "analyst",
    "ask analysis hello": "hello",
    "ask @analyst hello": "hello",
    "ask analysis hello --all": "hello",
    "ask analysis hello --until result.analysis.*": "hello",
    "tap --all --count 30": "bytes, not a valid message",
    "tap --all --json --count 30": "",
}


async def test_every_command_works_beside_garbage(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    await team.run(analyst="capabilities: [analysis]\n")
    (server,) = [str(team.bus.options["servers"])]
    runner = CliRunner(env={"NATS_URL": server, "AGENTD_ENV": team.subjects.env, "COLUMNS": "200"})
    publishing = asyncio.create_task(_litter(team))
    for line, shown in COMMANDS.items():
        done = await asyncio.to_thread(runner.invoke, app, line.split())
        assert (line, done.exit_code, done.exception) == (line, 0, done.exception), done.output
        assert shown in done.output, line
    publishing.cancel()


async def _litter(team: Team) -> None:
    """Publishes garbage on what commands subscribe to, again and again."""
    places = ("event.run.x", "event.approval.x", "stream.response.x", "result.analysis.x.x")
    while True:
        for place, body in itertools.product(places, BODIES):
            await team.bus.publish(f"agents.{team.subjects.env}.{place}", body[:1000])
        await asyncio.sleep(0.2)


async def test_a_subject_that_is_not_utf8_takes_nobody_with_it(team: Team) -> None:
    """The server accepts any bytes. nats-py would stop to read, and call itself connected."""
    await team.run(analyst="capabilities: [analysis]\n")
    await _publish_raw(team, b"agents.%s.task.analysis.\xff\xfe", b'{"payload": {"content": 1}}')
    assert (await team.ask("analysis", "hello"))["success"]
    await team.at_rest()
    [letter] = [each async for each in dead_letters.listed(team.bus, team.subjects)]
    assert (letter.reason, letter.published_to) == (
        "malformed",
        f"agents.{team.subjects.env}.task.analysis.\ufffd\ufffd",
    )


async def test_headers_that_are_none_cost_no_other_task(team: Team) -> None:
    """The server appends its own headers to what a client calls headers."""
    await team.run(analyst="capabilities: [analysis]\n")
    task = b'{"id": "broken", "payload": {"content": "hello"}}'
    for headers in (b"short", b"NATS/1.0\r\nX: y", b"NATS/1.0 404 gone\r\n\r\n"):
        await _publish_raw(team, b"agents.%s.task.analysis.x", task, headers)
    assert (await team.ask("analysis", "hello"))["success"]
    result = await team.result(team.subjects.result("analysis", "x", "broken"))
    assert result.payload.content["success"]
    await team.at_rest()


@pytest.mark.parametrize("token", ["ü", "a:b", "x" * 65])
async def test_a_task_outside_the_grammar_is_dead_lettered_and_its_sender_hears(
    team: Team, token: str
) -> None:
    """Its specificity, and its domain: such a task no agent ever pulls."""
    await team.run(analyst="capabilities: [analysis]\n")
    heard: asyncio.Queue[Any] = asyncio.Queue()
    await team.bus.subscribe("my.answers", heard.put)
    await team.bus.fence()
    sent = {f"agents.{team.subjects.env}.task.analysis.{token}": "one"}
    sent[f"agents.{team.subjects.env}.task.{token}.x"] = "two"
    for subject, name in sent.items():
        task = {"id": name, "replyTo": "my.answers", "payload": {"content": "hello"}}
        await team.send(subject, task)
    answers = [decode((await asyncio.wait_for(heard.get(), PATIENCE)).data) for _ in sent]
    errors = {each.id: each.payload.content["error"] for each in answers}
    assert {error["code"] for error in errors.values()} == {"malformed"}
    assert all(token in error["message"] for error in errors.values())
    await team.at_rest()
    letters = [each async for each in dead_letters.listed(team.bus, team.subjects)]
    assert {each.published_to: each.task_id for each in letters} == sent
    assert {each.reason for each in letters} == {"malformed"}


async def test_a_task_with_a_header_status_is_run_like_any_other(team: Team) -> None:
    await team.run(analyst="capabilities: [analysis]\nlimits: {concurrency: 16}\n")
    begun = time.monotonic()
    for number in range(15):
        task = {"id": f"t{number}", "payload": {"content": "hello"}}
        headers = {"Status": ("200 OK", "404", "503")[number % 3]} if number % 4 == 0 else {}
        await team.send(team.subjects.task("analysis", "x"), task, **headers)
    for number in range(15):
        result = await team.result(team.subjects.result("analysis", "x", f"t{number}"))
        assert result.payload.content["success"]
    await team.at_rest()
    assert time.monotonic() - begun < 15  # the time after which the server delivers a task again


async def test_a_stranger_cannot_answer_for_the_task_of_another(team: Team) -> None:
    """Who may send to one agent only, and knows the id of a task for another one."""
    for name in ("analyst", "parrot"):
        await team.run(**{name: f"capabilities: [{name}]\nmodel: mock/echo\n"})
    forged = {"id": "t1", "payload": {"content": "forged"}}
    about = {"Agentd-Topic": "analyst.x", "Agentd-Topic-Signature": "0" * 32}
    await team.send(team.subjects.task_for("parrot"), forged, **about)
    await team.send(team.subjects.task_for("parrot"), b'{"id": "t2"}', **about)
    for task in ("t1", "t2"):
        await team.result(team.subjects.result("_agent", "parrot", task))
        assert "real" in (await team.ask("analyst", "real", id=task))["data"]


async def test_garbage_on_the_subject_of_a_result_ends_no_task(team: Team) -> None:
    """Stored before the task, and while it runs: the task is answered, and its sender hears it."""
    slow = "{name: mock/script, script: [{text: hello, latency: 500ms}]}"
    await team.run(analyst=f"capabilities: [analysis]\nmodel: {slow}\n")
    task = new("task", "go", source=AgentIdentity(id="t"), id="t1")
    result = team.subjects.result("analysis", "x", "t1")
    for body in BODIES:
        await team.bus.publish(result, body)
    parts: list[Any] = []
    to = Destination.parse("analysis.x")
    async for part in ask(team.bus, team.subjects, to, task, timeout=PATIENCE):
        if not parts:
            for body in BODIES:
                await team.bus.publish(result, body)
                await team.bus.publish(team.subjects.stream("t1"), body)
        parts.append(part)
    assert parts[-1].payload.content["data"] == "hello"
    await team.at_rest()
    # Delivered again, it is known to be answered.
    stored = jetstream.stored(team.bus, LOG, result)
    assert len([msg async for msg in stored if b"hello" in msg.data]) == 1
    assert await on_record(team.bus, result)


async def test_all_waiting_tasks_are_cancelled_beside_garbage(team: Team) -> None:
    env = team.subjects.env
    talk = {"conversationId": "talk"}
    for name in TOKENS:
        await team.send(
            f"agents.{env}.task.nobody.{name}", {"payload": {"content": 1}, "context": talk}
        )
        await team.send(f"agents.{env}.task.nobody.{name}", b"\xff[")

    # The server copies tasks from LOG to WORK after it has acknowledged them.
    while len(await _waiting(team)) < 2 * len(TOKENS):  # noqa: ASYNC110 (nothing announces it)
        await asyncio.sleep(0.05)
    ended = await cancel(team.bus, team.subjects, Scope("conversation", "talk"))
    assert ended == {"waiting": len(TOKENS)}


async def _waiting(team: Team) -> list[Msg]:
    return [msg async for msg in jetstream.stored(team.bus, WORK, team.subjects.all_work)]


async def _publish_raw(team: Team, subject: bytes, data: bytes, headers: bytes = b"") -> None:
    """Publishes bytes that no client library would send."""
    host, port = team.bus.where.removeprefix("nats://").split(":")
    token = str(team.bus.options["servers"]).split("//")[1].split("@")[0]
    reader, writer = await asyncio.open_connection(host, int(port))
    await reader.readline()
    connect = json.dumps({"verbose": False, "headers": True, "auth_token": token})
    place = subject % team.subjects.env.encode()
    size = b"%d %d" % (len(headers), len(headers) + len(data)) if headers else b"%d" % len(data)
    verb = b"HPUB" if headers else b"PUB"
    writer.write(b"CONNECT " + connect.encode() + b"\r\n" + verb + b" " + place + b" " + size)
    writer.write(b"\r\n" + headers + data + b"\r\nPING\r\n")
    await writer.drain()
    assert await reader.readline() == b"PONG\r\n"
    writer.close()
