"""The commands that talk to a running agentd, and messages of clients that know no agentd."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from outside import Daemon, Done, Project, eventually, projects

Typed = Callable[..., Done]

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TELLER = """\
model:
  name: mock/script
  script: [{text: once upon a time there was, chunks: 3, interval: 700ms}]
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One agentd for all tests of this file; each test has its own task ids."""
    for project in projects(tmp_path_factory.mktemp("commands") / "project"):
        project.agent("analyst", "capabilities: [analysis]", "description: Finds the themes.")
        project.agent("critic", "capabilities: [critique]")
        project.agent("teller", TELLER)
        project.agent("refuser", "model: {name: mock/script, script: [{error: {status: 401}}]}")
        project.slow_agent("sleeper", "20s")
        yield project.up().ready()


@pytest.fixture
def here(running: Daemon) -> Project:
    """The project in which agentd runs."""
    return running.project


# --- ask -------------------------------------------------------------------------------------


async def test_ask_by_capability_and_from_standard_input(here: Project) -> None:
    answer = '[mock/echo] I was told: "You are analyst." and asked: "{}"\n'
    named, piped = await asyncio.gather(
        here.run("ask", "analysis.sentiment", "hello", "there"),
        here.run("ask", "analysis", stdin="from a pipe\n"),
    )
    assert (named.code, named.out, named.err) == (0, answer.format("hello there"), "")
    assert (piped.code, piped.out) == (0, answer.format("from a pipe"))


def test_ask_by_name_and_with_a_dash(here: Project, typed: Typed) -> None:
    assert 'told: "You are critic."' in typed(here, "ask", "@critic", "hello").out
    assert 'asked: "from a pipe"' in typed(here, "ask", "analysis", "-", stdin="from a pipe").out


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


async def test_ask_prints_the_answer_while_it_arrives(here: Project) -> None:
    """On a terminal the first words arrive 1.4 s before the last are written."""
    reading, terminal = os.openpty()
    ask = await here.spawn("ask", "teller", "tell me", out=terminal)
    shown = b""
    while b"once" not in shown:
        shown += await asyncio.to_thread(os.read, reading, 4)
    first_at = time.monotonic()
    await ask.wait()
    assert time.monotonic() - first_at > 0.6
    assert b"once upon a time there was\r\n" in shown + os.read(reading, 65_536)
    for descriptor in (reading, terminal):
        os.close(descriptor)


async def test_ctrl_c_says_how_to_end_the_task(here: Project) -> None:
    """Before the first word a line shows that the command waits."""
    reading, terminal = os.openpty()
    ask = await here.spawn("ask", "sleeper", "hello", out=terminal)
    shown = b""
    while b"waiting for sleeper.general" not in shown:
        shown += await asyncio.to_thread(os.read, reading, 1_000)
    ask.send_signal(signal.SIGINT)
    assert await ask.wait() == 130
    shown += os.read(reading, 65_536)
    for descriptor in (reading, terminal):
        os.close(descriptor)
    said = re.search(rb"interrupted; task (\w+) goes on; to end it: (agentd .*)\r\n", shown)
    assert said
    command = said[2].decode().split()[1:]
    assert command == ["stop", "--task", said[1].decode()]
    stopped = await here.run(*command)
    assert (stopped.code, "its tasks end: 1 " in stopped.out) == (0, True)


def test_ask_lists_the_agents_online_if_none_takes_the_task(here: Project, typed: Typed) -> None:
    for target in ("cooking", "@cook"):
        done = typed(here, "ask", target, "hello")
        assert (done.code, done.out) == (1, "")
        assert target in done.err
        assert "analyst (analysis)" in done.err
    elsewhere = typed(here, "ask", "analysis", "hello", "--env", "other")
    assert elsewhere.code == 1
    assert "no agent at all" in elsewhere.err


async def test_a_task_does_not_expire_with_the_patience_of_ask(here: Project) -> None:
    """Agents and people may work on what follows from it for longer."""
    done = await here.run("ask", "teller", "hello", "--timeout", "0.3")
    assert done.code == 1
    said = re.search(r"no answer from teller.general within 0.3 s: .* task (\w+) will be", done.err)
    assert said, done.err
    async with here.wire() as wire:
        result = await wire.result(said[1])
    assert result.content["success"]


async def test_ask_gives_up_after_its_timeout(here: Project) -> None:
    began = time.monotonic()
    done = await here.run("ask", "sleeper", "hello", "--timeout", "0.3")
    assert (done.code, done.out) == (1, "")
    assert "no answer from sleeper.general within 0.3 s" in done.err
    assert time.monotonic() - began < 15


def test_ask_reports_an_error_of_the_model(here: Project, typed: Typed) -> None:
    text = typed(here, "ask", "refuser", "hello")
    assert (text.code, text.out) == (1, "")
    assert "model_auth" in text.err
    as_json = typed(here, "ask", "refuser", "hello", "--json")
    content = json.loads(as_json.out)["payload"]["content"]
    assert (as_json.code, as_json.err) == (1, "")
    assert (content["success"], content["error"]["code"]) == (False, "model_auth")


async def test_ask_up_beside_a_daemon_shares_its_server(here: Project, running: Daemon) -> None:
    server = here.server()
    here.write("more/analyst.yaml", "capabilities: [analysis]\ninstructions: Late.\n")
    async with here.wire() as wire:
        before = await wire.count("task.>")
        assert 'told: "Late."' in await here.ask("analysis", "hello", "--up", "more")
        assert await wire.count("task.>") == before, "an agent of the daemon could have taken it"
    assert here.server() == server
    assert running.get("/readyz")[0] == 200


@pytest.mark.timeout(10, func_only=True)  # not with the start of the daemon
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
        ("ask|analysis|hello|--file|nosuch.png", "nosuch.png: No such file"),
        ("ask|analysis|hello|--file|.agentd", ".agentd: Is a directory"),
        ("send|analysis|-|--file|/proc/self/exe", "is neither an image that models take"),
    ],
)
def test_an_invalid_command_line_exits_with_2_and_the_reason(
    here: Project, typed: Typed, line: str, says: str
) -> None:
    done = typed(here, *line.split("|"), stdin='{"payload": {"content": "x"}}')
    assert (done.code, done.out) == (2, "")
    assert says in done.err


# --- send ------------------------------------------------------------------------------------


async def test_send_a_file(here: Project) -> None:
    here.write("task.json", '{"id": "from-file", "payload": {"content": {"instruction": "sum"}}}')
    done = await here.run("send", "analysis.numbers", "task.json")
    assert (done.code, done.out) == (0, "task from-file sent to analysis.numbers\n")
    async with here.wire() as wire:
        result = await wire.result("from-file", "analysis")
    assert result.subject == "agents.dev.result.analysis.numbers.from-file"
    assert 'asked: "sum"' in result.content["data"]


async def test_attached_files_are_recognized_by_their_content(here: Project) -> None:
    """The name of a file does not count."""
    (here.root / "photo.jpg").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(12_000))
    here.write("table.csv", "a,b\n")
    here.write("files.json", '{"id": "with-files", "payload": {"content": "sum"}}')
    files = ("--file", "photo.jpg", "-f", "table.csv")
    asked = here.run("ask", "analysis", "what is this?", *files)
    done, sent = await asyncio.gather(asked, here.run("send", "analysis", "files.json", *files))
    assert (done.code, sent.code) == (0, 0), done.err + sent.err
    assert 'asked: "what is this? [image/png, 12 kB] [table.csv] a,b"' in done.out
    async with here.wire() as wire:
        result = await wire.result("with-files", "analysis")
    assert 'asked: "sum [image/png, 12 kB] [table.csv] a,b"' in result.content["data"]


async def test_send_standard_input(here: Project, typed: Typed) -> None:
    minimal = '{"payload": {"content": "from a pipe"}}'
    task = await asyncio.to_thread(typed, here, "send", "@critic", "--json", stdin=minimal)
    event = '{"type": "event", "payload": {"content": 1}}'
    assert (await asyncio.to_thread(typed, here, "send", "news.today", "-", stdin=event)).code == 0
    sent = json.loads(task.out)
    assert (task.code, sent["type"], sent["to"]) == (0, "task", "@critic")
    async with here.wire() as wire:
        answer = await wire.result(sent["id"])
        assert answer.subject == f"agents.dev.result._agent.critic.{sent['id']}"
        assert "from a pipe" in answer.content["data"]
        assert [seen.content for seen in await wire.recorded("event.news.today")] == [1]


async def test_send_again(here: Project) -> None:
    """A line of `tap --json` is a message, too."""
    task = {"id": "once", "payload": {"content": "x"}}
    line = json.dumps({"subject": "agents.dev.task.analysis.general.5", "message": task})
    async with here.wire() as wire:
        await wire.task("analysis", "once")
        await wire.result("once")
    refused = await here.run("send", "analysis", stdin=line)
    assert (refused.code, refused.out) == (2, "")
    assert "task once has a result already" in refused.err
    assert "--again" in refused.err
    again = await here.run("send", "analysis", "--again", "--json", stdin=line)
    fresh = json.loads(again.out)["id"]
    assert fresh != "once"
    async with here.wire() as wire:
        result = await wire.result(fresh)
    assert result.body["context"]["conversationId"] == fresh


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
def test_send_reports_what_is_wrong_with_a_message(
    here: Project, typed: Typed, message: str, says: str
) -> None:
    done = typed(here, "send", "analysis", stdin=message)
    assert (done.code, done.out) == (2, "")
    assert says in done.err


async def test_send_refuses_a_task_that_no_agent_takes(here: Project, typed: Typed) -> None:
    minimal = '{"payload": {"content": "x"}}'
    untaken = await asyncio.to_thread(typed, here, "send", "cooking", stdin=minimal)
    assert untaken.code == 1
    assert "analyst (analysis)" in untaken.err
    aimed = '{"payload": {"content": "x"}, "target": "ghost"}'
    ghost = await asyncio.to_thread(typed, here, "send", "analysis", stdin=aimed)
    assert (ghost.code, "ghost" in ghost.err) == (1, True)
    async with here.wire() as wire:
        assert await wire.count("task.cooking.>") == 0


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


async def test_invalid_bytes_become_dead_letters_and_the_agent_continues(here: Project) -> None:
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
        # Dead letters are stored together with the results, which are published before that.
        letters = await wire.recorded("dlq.critique.garbage", len(garbage))
    assert sorted(letter.data for letter in letters) == sorted(garbage)
    assert {letter.headers["Agentd-Reason"] for letter in letters} == {"malformed"}
    assert all(letter.headers["Agentd-Error"] for letter in letters)
    content = {seen.subject.rpartition(".")[2]: seen.content for seen in results}
    assert content.pop("fine")["success"] is True
    assert content["unreadable"]["error"]["code"] == "malformed"
    assert "payload.content" in content["unreadable"]["error"]["message"]
    assert {each["error"]["code"] for each in content.values()} == {"malformed"}


async def test_a_publish_to_an_invalid_subject_is_refused(here: Project) -> None:
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


async def test_the_target_in_a_message_answers_it(here: Project) -> None:
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


async def test_a_trace_continues_in_the_result_and_the_deltas(here: Project) -> None:
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
    table = await here.run("ps", folder="manifests")
    assert (table.code, table.err) == (0, "")
    head, *rows = table.out.splitlines()
    assert head.split()[:3] == ["AGENT", "RUNNING", "DONE"]
    # On a narrow terminal, what does not fit stands below its row, indented.
    agents = [row.split()[0] for row in rows if not row.startswith(" ")]
    assert agents == ["analyst", "critic", "refuser", "sleeper", "teller"]
    assert "mock/echo (mock)" in table.out
    assert "\x1b" not in table.out


async def test_ps_json_has_the_numbers_of_each_agent(here: Project, typed: Typed) -> None:
    async def counted() -> dict[str, Any]:
        agents = json.loads((await asyncio.to_thread(typed, here, "ps", "--json")).out)
        assert [each["agent"] for each in agents] == sorted(each["agent"] for each in agents)
        by_name = {each["agent"]: each for each in agents}
        return by_name if by_name["refuser"]["failed"] and by_name["analyst"]["done"] else {}

    async with here.wire() as wire:
        await wire.task("refuser", "to-fail")
        await wire.task("analysis", "to-do")
        agents = await eventually(counted)
    analyst = agents["analyst"]
    assert (analyst["capabilities"], analyst["description"]) == (["analysis"], "Finds the themes.")
    assert (analyst["replicas"], analyst["concurrency"], analyst["refused"]) == (1, 8, [])
    assert (analyst["model"], analyst["mock"], analyst["cost"]) == ("mock/echo", True, 0.0)
    assert analyst["p50"] >= 0
    assert analyst["tokens"] > 0
    assert agents["refuser"]["done"] == 0


async def test_ps_looks_again_until_ctrl_c(here: Project) -> None:
    reading, writing = os.pipe()
    ps = await here.spawn("ps", "--watch", "--json", out=writing)
    os.close(writing)
    with os.fdopen(reading) as lines:
        looks = json.JSONDecoder()
        shown = ""
        for _ in range(2):
            while not shown.rstrip().endswith("\n]"):
                shown += await asyncio.to_thread(lines.readline)
            agents, _ = looks.raw_decode(shown)
            assert "analyst" in [each["agent"] for each in agents]
            shown = ""
        ps.send_signal(signal.SIGINT)
        assert await ps.wait() == 130


@pytest.mark.parametrize(
    ("flags", "first"), [([], "event.tapped.all"), (["--all"], "event.status.heartbeat")]
)
async def test_tap_shows_heartbeats_only_if_it_is_asked(
    here: Project, flags: list[str], first: str
) -> None:
    line = ("tap", "event.>", "--json", "-n", "1", *flags)
    tap = asyncio.create_task(here.run(*line, "--env", "quiet"))
    async with here.wire() as wire:
        while not tap.done():
            for subject in ("event.status.heartbeat", "event.tapped.all"):
                await wire.client.publish(f"agents.quiet.{subject}", b"{}")
            await asyncio.wait({tap}, timeout=0.2)
    assert json.loads(tap.result().out)["subject"] == f"agents.quiet.{first}"


async def test_tap_prints_messages_as_they_are_published(here: Project) -> None:
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
    """So `agentd tap | head -1` returns."""
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


async def test_a_terminal_shows_a_dim_footer(here: Project) -> None:
    reading, terminal = os.openpty()
    ask = await here.spawn("ask", "analysis", "hello", out=terminal)
    await ask.wait()
    shown = os.read(reading, 65_536).decode()
    for descriptor in (reading, terminal):
        os.close(descriptor)
    assert 'asked: "hello"' in shown
    assert "\x1b[2manalyst · mock/echo" in shown


# --- log, result, cost -----------------------------------------------------------------------


def test_log_finds_what_is_on_record(here: Project, typed: Typed) -> None:
    typed(here, "ask", "analysis", "unheardof \x1b[2J\u202e words", "--conversation", "logged-1")

    lines = typed(here, "log", "--grep", "unheardof", "--agent", "analyst").out.splitlines()
    assert [line.split()[2] for line in lines] == [
        "result.analysis.general",
        "conversation_exchange",
    ]
    assert " analyst " in lines[0]
    assert not {"\x1b", "\u202e"} & set("".join(lines))
    shown = typed(here, "log", "-c", "logged-", "-n", "3", "--json").out.splitlines()
    task, result, _ = map(json.loads, shown)
    assert (task["kind"], result["kind"]) == ("task", "result")
    assert task["task"] == result["task"]
    assert task["text"] == "unheardof \x1b[2J\u202e words"
    shown = typed(here, "log", "-c", "logged-1", "-n", "1")
    assert len(shown.out.splitlines()) == 1
    assert "the newest 1 messages" in shown.err
    assert "no message" in typed(here, "log", "--until", "1d", "--grep", "unheardof").err


def test_log_shows_what_failed(here: Project, typed: Typed) -> None:
    typed(here, "ask", "@refuser", "hello")

    shown = typed(here, "log", "--failed", "--since", "1h", "--agent", "refuser").out
    assert "model_auth: " in shown


async def test_log_follows(here: Project) -> None:
    log = await here.spawn("log", "-f", "--grep", "followed word")
    assert log.stderr
    assert log.stdout
    assert "no message" in (await log.stderr.readline()).decode()
    async with here.wire() as wire:
        await wire.task("analysis", "followed-1", "a followed word")
    assert b"followed-1  task.analysis" in await log.stdout.readline()
    assert b"followed-1  result.analysis" in await log.stdout.readline()
    log.send_signal(signal.SIGINT)
    assert await log.wait() == 130


def test_result_prints_the_answer_of_a_task(here: Project, typed: Typed) -> None:
    asked = typed(here, "ask", "analysis", "hello", "--json").out
    task = json.loads(asked)["correlationId"]

    assert typed(here, "result", task, "--json").out == asked
    assert typed(here, "result", task[:12]).out == (
        '[mock/echo] I was told: "You are analyst." and asked: "hello"\n'
    )


def test_result_of_a_task_without_one(here: Project, typed: Typed) -> None:
    body = '{"id": "unanswered", "payload": {"content": "x"}}'
    assert typed(here, "send", "sleeper", "-", stdin=body).code == 0

    done = typed(here, "result", "unanswered")
    assert (done.code, done.out) == (1, "")
    assert "task unanswered has no result: it is " in done.err


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("result|nosuch", 2, "no task on record begins with 'nosuch'"),
        ("result|\udcff", 2, "no task on record"),
        ("log|-c|nosuch", 2, "no conversation on record begins with 'nosuch'"),
        ("log|--grep|%", 2, "has no word"),
        ("log|--since|noon", 2, "write 10m, 2h, 1d, or 2026"),
        ("log|--follow|--until|1h", 2, "not both"),
        ("cost|--by|week", 2, "--by"),
    ],
)
def test_what_the_record_does_not_have(
    here: Project, typed: Typed, line: str, code: int, says: str
) -> None:
    done = typed(here, *line.split("|"))
    assert (done.code, done.out) == (code, "")
    assert says in done.err


def test_cost_sums_up_results(here: Project, typed: Typed) -> None:
    typed(here, "ask", "critique", "hello")

    found = json.loads(typed(here, "cost", "--json").out)
    [critic] = [each for each in found["groups"] if each["agent"] == "critic"]
    assert critic["tasks"] >= 1
    assert critic["tokens_out"] > 0
    assert found["total"]["tasks"] >= critic["tasks"]
    table = typed(here, "cost", "--by", "model", "--since", "1h").out.splitlines()
    assert table[0].split()[:3] == ["MODEL", "COST", "TASKS"]
    assert any(line.startswith("mock/echo") for line in table)
    assert table[-1].startswith("total")
