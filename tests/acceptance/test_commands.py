"""The commands of a second terminal while agentd runs, and what plain messages do."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import select
import sys
import time
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from outside import Daemon, Project, eventually, projects

from agentd.cli import main

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TELLER = """\
model:
  name: mock/script
  script: [{text: once upon a time there was, chunks: 3, interval: 700ms}]
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One agentd for all tests of this file: they tell their tasks apart by id."""
    for project in projects(tmp_path_factory.mktemp("commands") / "project"):
        project.agent("analyst", "capabilities: [analysis]", "description: Finds the themes.")
        project.agent("critic", "capabilities: [critique]")
        project.agent("teller", TELLER)
        project.agent("refuser", "model: {name: mock/script, script: [{error: {status: 401}}]}")
        project.slow_agent("sleeper", "20s")
        yield project.up().ready()


@pytest.fixture
def here(running: Daemon) -> Project:
    """The project in which it runs."""
    return running.project


@pytest.fixture
def typed(here: Project, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a command inside this process, which takes a tenth of the time; its exit code."""

    def run(*line: str, stdin: str) -> int:
        monkeypatch.chdir(here.root)
        monkeypatch.setattr(sys, "argv", ["agentd", *line])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as end:
            main()
        return cast("int", end.value.code)

    return run


# --- ask -------------------------------------------------------------------------------------


async def test_ask_by_capability_specificity_and_name(here: Project) -> None:
    answers = await asyncio.gather(
        here.ask("analysis"), here.ask("analysis.sentiment"), here.ask("@analyst")
    )
    told = '[mock/echo] I was told: "You are analyst." and asked: "hello"\n'
    assert answers == [told] * 3


async def test_ask_takes_the_task_from_standard_input(here: Project) -> None:
    silent, dash = await asyncio.gather(
        here.run("ask", "analysis", stdin="from a pipe\n"),
        here.run("ask", "analysis", "-", stdin="from a pipe\n"),
    )
    assert "from a pipe" in silent.out
    assert silent == dash


async def test_ask_as_json_in_a_conversation_with_priority(here: Project) -> None:
    flags = ("--json", "--conversation", "c-42", "--priority", "9")
    result = json.loads(await here.ask("analysis", "urgent", *flags))
    content = result["payload"]["content"]
    assert content["success"] is True
    assert (content["model"], content["cost"], content["error"]) == ("mock/echo", 0.0, None)
    assert content["tokens"] > 0
    assert content["latency"] >= 0
    assert len(content["revision"]) == 12
    assert "confidence" not in content
    assert result["context"]["conversationId"] == "c-42"
    assert result["context"]["parentMessageId"] == result["correlationId"]
    async with here.wire() as wire:
        tasks = await wire.recorded("task.analysis.general.9")
    assert result["correlationId"] in [task.body["id"] for task in tasks]


async def test_ask_prints_the_answer_while_it_is_made(here: Project) -> None:
    """The first words come before the last are made, 1.4 s later."""
    ask = await here.spawn("ask", "teller", "tell me")
    assert ask.stdout
    first = await asyncio.wait_for(ask.stdout.read(4), 30)
    heard = time.monotonic()
    rest, _ = await ask.communicate()
    assert time.monotonic() - heard > 0.6
    assert first + rest == b"once upon a time there was\n"


async def test_ask_says_who_is_online_when_nobody_takes_the_task(here: Project) -> None:
    nobody, no_agent, elsewhere = await asyncio.gather(
        here.run("ask", "cooking", "hello"),
        here.run("ask", "@cook", "hello"),
        here.run("ask", "analysis", "hello", "--env", "other"),
    )
    assert (nobody.code, no_agent.code, elsewhere.code) == (1, 1, 1)
    for done in (nobody, no_agent):
        assert "analyst (analysis)" in done.err
    assert "cooking" in nobody.err
    assert "no agent at all" in elsewhere.err


async def test_ask_gives_up_after_its_timeout(here: Project) -> None:
    """Whoever notices first, the agent or who asks: the task runs out of time."""
    began = time.monotonic()
    done = await here.run("ask", "sleeper", "hello", "--timeout", "0.3")
    assert (done.code, done.out) == (1, "")
    assert re.search("no answer|timeout|expired", done.err)
    assert time.monotonic() - began < 15


async def test_ask_tells_an_error_of_the_model(here: Project) -> None:
    text, as_json = await asyncio.gather(
        here.run("ask", "refuser", "hello"), here.run("ask", "refuser", "hello", "--json")
    )
    assert (text.code, text.out, as_json.code) == (1, "", 1)
    assert "model_auth" in text.err
    content = json.loads(as_json.out)["payload"]["content"]
    assert (content["success"], content["error"]["code"]) == (False, "model_auth")


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ask|a b|hello", "a b"),
        ("ask|a.b.c|hello", "a.b.c"),
        ("ask|@|hello", "agent"),
        ("ask|analysis|hello|--priority|10", "--priority"),
        ("ask|analysis|hello|--timeout|-1", "--timeout"),
        ("ask|analysis|hello|--timeout|nan", "--timeout"),
        ("ps|--env|status", "environment"),
        ("tap|task..x", "task..x"),
        ("tap|agents.other.>", "other"),
        ("send|a b", "a b"),
        ("send|analysis|nosuch.json", "nosuch.json"),
    ],
)
def test_what_is_wrong_with_a_command_line_is_said(
    typed: Callable[..., int], capfd: pytest.CaptureFixture[str], line: str, says: str
) -> None:
    """Exit code 2 and a clear line."""
    assert typed(*line.split("|"), stdin='{"payload": {"content": "x"}}') == 2
    assert says in capfd.readouterr().err


# --- send ------------------------------------------------------------------------------------


async def test_send_from_a_file_and_from_standard_input(here: Project) -> None:
    here.write("task.json", '{"id": "from-file", "payload": {"content": {"instruction": "sum"}}}')
    file, pipe, event = await asyncio.gather(
        here.run("send", "analysis.numbers", "task.json"),
        here.run("send", "@critic", "--json", stdin='{"payload": {"content": "from a pipe"}}'),
        here.run("send", "news.today", "-", stdin='{"type": "event", "payload": {"content": 1}}'),
    )
    assert (file.code, pipe.code, event.code) == (0, 0, 0), (file, pipe, event)
    assert "from-file sent to analysis.numbers" in file.out
    sent = json.loads(pipe.out)
    async with here.wire() as wire:
        assert 'asked: "sum"' in (await wire.result("from-file", "analysis")).content["data"]
        answer = await wire.result(sent["id"])
        assert answer.subject == f"agents.dev.result._agent.critic.{sent['id']}"
        assert "from a pipe" in answer.content["data"]
        assert [event.content for event in await wire.recorded("event.news.today")] == [1]


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ('{"payload": {"content": "x"}', "JSON"),
        ("", "JSON"),
        ("[]", "object"),
        ("{}", "payload.content"),
        ('{"reply_to": "x", "payload": {"content": "x"}}', "replyTo"),
        ('{"payload": {"content": "x"}, "routing": {"priority": 10}}', "routing.priority"),
        ('{"type": "result", "payload": {"content": "x"}}', "result"),
        ('{"version": "2.0", "payload": {"content": "x"}}', "version"),
    ],
)
def test_send_says_what_is_wrong_with_a_message(
    typed: Callable[..., int], capfd: pytest.CaptureFixture[str], message: str, says: str
) -> None:
    assert typed("send", "analysis", stdin=message) == 2
    assert says in capfd.readouterr().err


async def test_send_refuses_what_nobody_takes(here: Project) -> None:
    minimal = '{"payload": {"content": "x"}}'
    aimed = '{"payload": {"content": "x"}, "target": "ghost"}'
    nobody, ghost = await asyncio.gather(
        here.run("send", "cooking", stdin=minimal), here.run("send", "analysis", stdin=aimed)
    )
    assert (nobody.code, ghost.code) == (1, 1)
    assert "analyst (analysis)" in nobody.err
    assert "ghost" in ghost.err
    async with here.wire() as wire:
        assert await wire.held("task.cooking.>") == 0


# --- plain messages --------------------------------------------------------------------------


async def test_a_minimal_message_of_any_client_is_answered(here: Project) -> None:
    async with here.wire() as wire:
        results = await wire.watch("result.analysis.minimal.*")
        chunks = await wire.watch("stream.response.*")
        await wire.publish("task.analysis.minimal", b'{"payload":{"content":"x"}}')
        await eventually(lambda: results)
        content = results[0].content
        task_id = results[0].body["correlationId"]
        assert content["data"].endswith('asked: "x"')
        pieces = [seen.body["payload"] for seen in chunks if seen.subject.endswith(task_id)]
    assert "".join(piece["chunk"] for piece in pieces) == content["data"]
    assert [piece["sequenceNumber"] for piece in pieces] == list(range(len(pieces)))
    assert [piece["isFirst"] for piece in pieces] == [True] + [False] * (len(pieces) - 1)
    assert [piece["isFinal"] for piece in pieces] == [False] * (len(pieces) - 1) + [True]


async def test_garbage_becomes_dead_letters_and_the_agent_lives_on(here: Project) -> None:
    garbage = [
        b"",
        b"\x00\xff\xfe garbage",
        b"[" * 100_000,
        b'{"payload": {"content": NaN}}',
        b'{"id": "unreadable", "payload": {}}',
    ]
    async with here.wire() as wire:
        results = await wire.watch("result.critique.garbage.*")
        for each in garbage:
            await wire.publish("task.critique.garbage", each)
        await wire.publish("task.critique.garbage", {"id": "fine", "payload": {"content": "x"}})
        await eventually(lambda: len(results) == len(garbage) + 1)
        # They are stored with the results, which pass before they are stored.
        letters = await wire.recorded("dlq.critique.garbage", len(garbage))
    assert sorted(letter.data for letter in letters) == sorted(garbage)
    assert {letter.headers["Agentd-Reason"] for letter in letters} == {"malformed"}
    assert all(letter.headers["Agentd-Error"] for letter in letters)
    content = {seen.subject.rpartition(".")[2]: seen.content for seen in results}
    assert content.pop("fine")["success"] is True
    assert content["unreadable"]["error"]["code"] == "malformed"
    assert "payload.content" in content["unreadable"]["error"]["message"]
    assert {each["error"]["code"] for each in content.values()} == {"malformed"}


async def test_a_subject_that_no_agent_can_have_is_refused_at_once(here: Project) -> None:
    async with here.wire() as wire:
        for subject in ("task.analysis", "task.analysis.a.b", "task.analysis.a.10"):
            with pytest.raises(Exception, match="no response from stream"):
                await wire.client.jetstream().publish(f"agents.dev.{subject}", b"{}")


async def test_an_expired_message_is_not_run(here: Project) -> None:
    async with here.wire() as wire:
        await wire.task("analysis", "late", timestamp=time.time() - 60, routing={"timeout": 1000})
        content = (await wire.result("late")).content
    assert (content["success"], content["error"]["code"]) == (False, "expired")
    assert content["tokens"] is None


async def test_a_target_in_the_body_decides_who_answers(here: Project) -> None:
    async with here.wire() as wire:
        await wire.task("analysis", "aimed", target="critic")
        assert (await wire.result("aimed")).body["source"]["id"] == "critic"
        await wire.task("analysis", "astray", target="ghost")
        content = (await wire.result("astray")).content
    assert content["success"] is False
    assert "ghost" in content["error"]["message"]


async def test_reply_to_gets_a_copy_of_the_result(here: Project) -> None:
    async with here.wire() as wire:
        copies = await wire.watch("my.answers", root="inbox")
        await wire.task("analysis", "answer-me", replyTo="inbox.my.answers", correlationId="c1")
        result = await wire.result("answer-me")
        await eventually(lambda: copies)
    assert copies[0].data == result.data
    assert result.body["correlationId"] == "c1"


async def test_a_trace_goes_on_in_the_result(here: Project) -> None:
    async with here.wire() as wire:
        sent = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "tracestate": "vendor=1"}
        results = await wire.watch("result.analysis.traced.*")
        chunks = await wire.watch("stream.response.*")
        await wire.publish("task.analysis.traced", b'{"payload":{"content":"x"}}', sent)
        await eventually(lambda: results)
        version, trace, span, flags = results[0].headers["traceparent"].split("-")
        assert (version, trace, flags) == ("00", TRACE, "01")
        assert span != "00f067aa0ba902b7"
        assert results[0].headers["tracestate"] == "vendor=1"
        task_id = results[0].body["correlationId"]
        own = [seen.headers["traceparent"] for seen in chunks if seen.subject.endswith(task_id)]
    assert own
    assert all(TRACE in parent for parent in own)


# --- ps and tap ------------------------------------------------------------------------------


async def test_ps_from_anywhere_in_the_project(here: Project) -> None:
    await here.ask("analysis")
    table, as_json = await asyncio.gather(
        here.run("ps", folder="manifests"), here.run("ps", "--json")
    )
    assert (table.code, as_json.code) == (0, 0)
    head, *rows = table.out.splitlines()
    assert head.split()[:3] == ["AGENT", "TAKES", "REPLICAS"]
    assert [row.split()[0] for row in rows] == ["analyst", "critic", "refuser", "sleeper", "teller"]
    assert "mock/echo (mock)" in rows[0]
    assert "\x1b" not in table.out
    agents = {agent["agent"]: agent for agent in json.loads(as_json.out)}
    analyst = agents["analyst"]
    assert analyst["capabilities"] == ["analysis"]
    assert analyst["description"] == "Finds the themes."
    assert (analyst["replicas"], analyst["concurrency"], analyst["refused"]) == (1, 8, [])
    assert (analyst["model"], analyst["mock"]) == ("mock/echo", True)


async def test_ps_counts_what_was_done(here: Project) -> None:
    async def counted() -> bool:
        agents = json.loads((await here.run("ps", "--json")).out)
        refuser = next(agent for agent in agents if agent["agent"] == "refuser")
        return refuser["failed"] >= 1 and refuser["p50"] is not None

    async with here.wire() as wire:
        await wire.task("refuser", "to-fail")
        await wire.result("to-fail")
        await eventually(counted)


async def test_tap_shows_what_passes(here: Project) -> None:
    tap = asyncio.create_task(here.run("tap", "*.analysis.tapped.>", "-n", "2"))
    subject = "agents.dev.task.analysis.tapped"
    as_json = asyncio.create_task(here.run("tap", subject, "--json", "-n", "1"))
    async with here.wire() as wire:
        while not (tap.done() and as_json.done()):
            await wire.publish("task.analysis.tapped", {"payload": {"content": "seen\x1b[2J"}})
            await asyncio.wait({tap, as_json}, timeout=0.2)
    lines = tap.result().out.splitlines()
    assert len(lines) == 2
    assert "result.analysis.tapped." in lines[0]
    assert " analyst " in lines[0]
    assert "\x1b" not in lines[0]
    [line] = as_json.result().out.splitlines()
    seen = json.loads(line)
    assert seen["subject"] == subject
    assert seen["message"]["payload"]["content"] == "seen\x1b[2J"


async def test_tap_ends_with_its_reader(here: Project) -> None:
    """`agentd tap | head -1` returns to the prompt."""
    reading, writing = os.pipe()
    tap = await here.spawn("tap", "task.analysis.headed", out=writing)
    os.close(writing)
    async with here.wire() as wire:

        async def publish() -> None:
            await wire.publish("task.analysis.headed", {"payload": {"content": "x"}})

        async def shown() -> bool:
            await publish()
            return bool(select.select([reading], [], [], 0)[0])

        async def ended() -> bool:
            await publish()
            return tap.returncode is not None

        await eventually(shown)
        assert b"task.analysis.headed" in os.read(reading, 65_536)
        os.close(reading)
        try:
            await eventually(ended, "the end of tap", 10)
        finally:
            if tap.returncode is None:
                tap.kill()


async def test_a_terminal_gets_the_footer_in_grey(here: Project) -> None:
    reading, terminal = os.openpty()
    ask = await here.spawn("ask", "analysis", "hello", out=terminal)
    await ask.wait()
    shown = os.read(reading, 65_536).decode()
    for descriptor in (reading, terminal):
        os.close(descriptor)
    assert 'asked: "hello"' in shown
    assert "\x1b[2manalyst · mock/echo" in shown
