"""`agentd up`: output, exit codes, health, signals, and which libraries it imports."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from outside import Done, Project, eventually, until

from agentd.testing.stub_model import StubModel

Typed = Callable[..., Done]


def imported(times: str) -> set[str]:
    """The top-level packages in the output of `-X importtime`."""
    lines = (line for line in times.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


async def test_up_shows_its_agents_and_ends_with_ctrl_c(project: Project) -> None:
    project.agent("analyst", "capabilities: [analysis, sentiment]")
    project.agent("critic", "capabilities: [critique]")
    project.fresh = True
    up = project.up().ready()
    head, analyst, critic, empty, where, ready = up.out.splitlines()
    assert head.split() == ["AGENT", "TAKES", "MODEL", "REVISION"]
    assert re.match(r"analyst +analysis sentiment +mock/echo \(mock\) +[0-9a-f]{12}", analyst)
    assert critic.startswith("critic")
    assert empty == ""
    assert "environment dev" in where
    assert project.server()["url"] in where
    assert up.http in where
    assert ready.startswith("2 agents ready in")
    assert "agentd ask analysis" in ready
    assert up.stop(signal.SIGINT) == 0
    assert "stopping" in up.err
    assert "Traceback" not in up.err
    shown = up.out + up.err
    assert "\x1b" not in shown
    assert project.server()["token"] not in shown


async def test_one_broken_manifest_does_not_keep_the_others_from_running(
    project: Project,
) -> None:
    project.agent("analyst")
    project.agent("broken", "capabilites: [typo]")
    project.agent("early", "model: [{name: mock/echo, when: content}]")
    up = project.up().ready()
    until(lambda: "manifests/broken.yaml:2:1" in up.err, "the place of the problem")
    assert "did you mean `capabilities`?" in up.err
    assert "^^^^" in up.err
    assert "2 agents ready" in up.out
    assert re.search(
        r"manifests/early\.yaml:2:\d+: warning: every model has a `when`", up.err + up.out
    )


async def test_all_problems_of_the_files_are_reported_together(project: Project) -> None:
    project.write("manifests/first.yaml", "capabilities: [a]\ncapabilites: [a]\n")
    project.write("manifests/second.yaml", "capabilities: [a\n")
    project.agent("third", prompt="{{ nosuch }}")
    done = await project.run("up", "--http", "off")
    assert (done.code, done.out) == (2, "")
    for place in ("manifests/first.yaml:2:1", "manifests/second.yaml:", "prompts/third.md:1:"):
        assert place in done.err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("up nothing", "agentd new"),
        ("up nosuch", "nosuch"),
        ("up good/a.yaml", "name its folder"),
        ("up good --http nonsense", "nonsense"),
        ("up good --env prompt", "prompt"),
        ("up good --grace soon", "--grace"),
        ("up good --nats nats://[", "--nats"),
        ("ask --up nosuch a hello", "nosuch"),
    ],
)
def test_a_wrong_command_line_ends_with_exit_code_2(
    project: Project, typed: Typed, line: str, says: str
) -> None:
    project.write("good/a.yaml", "capabilities: [a]\ninstructions: Good.\n")
    project.write("nothing/readme.txt", "no manifest")
    done = typed(project, *line.split())
    assert (done.code, done.out) == (2, "")
    assert says in done.err


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ("mock/ecko", "`mock/ecko` is not a mock model; did you mean `mock/echo`?"),
        ("mock/script", "must be a mapping with `turns` or `cases`"),
        ("openai/", "`openai/` has no model after the provider"),
    ],
)
def test_a_wrong_default_model_is_an_error_of_the_setting(
    project: Project,
    typed: Typed,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    problem: str,
) -> None:
    project.agent("analyst")
    monkeypatch.setenv("AGENTD_MODEL", model)
    done = typed(project, "up", "manifests", "--http", "off")

    assert (done.code, done.out) == (2, "")
    assert f"AGENTD_MODEL={model}: " in done.err
    assert problem in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("line", ["ps", "ask analyst hello", "tap", "send analyst"])
def test_without_a_server_a_command_ends_with_exit_code_3(
    project: Project, typed: Typed, line: str
) -> None:
    done = typed(project, *line.split(), stdin='{"payload": {"content": "x"}}')
    assert (done.code, done.out) == (3, "")
    assert "agentd up" in done.err


async def test_a_server_that_does_not_answer_or_start_ends_it_with_exit_code_3(
    project: Project, tmp_path: Path
) -> None:
    project.agent("analyst")
    nowhere = f"nats://127.0.0.1:{free_port()}"
    project.write(".agentd/store", "a file")
    no_store, *silent = await asyncio.gather(
        project.run("up", "--http", "off"),
        project.run("ps", "--nats", nowhere),
        project.run("ask", "analyst", "hello", "--nats", nowhere),
    )
    assert (no_store.code, no_store.out) == (3, "")
    assert "nats-server" in no_store.err
    for done in silent:
        assert (done.code, done.out) == (3, "")
        assert nowhere in done.err


async def test_up_logs_that_it_waits_for_its_server(project: Project) -> None:
    project.agent("analyst")
    nats = f"127.0.0.1:{free_port()}"
    up = project.up("--nats", f"nats://{nats}", http=f"127.0.0.1:{free_port()}")
    until(lambda: f"waiting for NATS at nats://{nats}" in up.err, "what it waits for")
    assert up.get("/healthz")[0] == 200
    status, body = up.get("/readyz")
    assert (status, "NATS" in body) == (503, True)
    await asyncio.sleep(1)
    assert len(up.err.splitlines()) <= 3  # not one for each attempt
    assert up.stop(signal.SIGTERM) == 0


async def test_health_of_two_processes_side_by_side(project: Project) -> None:
    project.agent("analyst")
    address = f"127.0.0.1:{free_port()}"
    first = project.up(http=address).ready()
    second = project.up().ready()
    assert first.http == f"http://{address}"
    assert second.http != first.http
    async with project.wire() as wire:
        await wire.task("analyst", "counted")
        await wire.result("counted")
    for up in (first, second):
        assert up.get("/healthz")[0] == 200
        status, body = up.get("/readyz")
        assert (status, json.loads(body)["ready"]) == (200, True)
        assert up.get("/nosuch")[0] == 404
    pages = first.get("/metrics")[1] + second.get("/metrics")[1]
    for series in (
        'agent_tasks_total{agent_id="analyst",status="success"} 1.0',
        'agent_task_duration_seconds_count{agent_id="analyst"} 1.0',
        'agentd_model_calls_total{model="mock/echo",status="success"} 1.0',
        'agentd_tasks_in_flight{agent_id="analyst"} 0.0',
    ):
        assert series in pages
    project.agent("analyst", prompt="Edited.")
    await eventually(lambda: "agentd_reloads_total{" in first.get("/metrics")[1])


async def test_json_logs_have_the_address_of_the_health_server(project: Project) -> None:
    project.agent("analyst")
    up = project.up("--log-format", "json")
    until(lambda: "ready" in up.err, "that it is ready")
    async with project.wire() as wire:
        await wire.task("analyst", "logged")
        await wire.result("logged")
    assert up.stop() == 0
    lines = [json.loads(line) for line in (up.out + up.err).splitlines()]
    assert all({"ts", "level", "logger", "message"} <= line.keys() for line in lines)
    [done] = [line for line in lines if line.get("status") == "success"]
    assert (done["agent"], done["task"]) == ("analyst", "logged")
    assert any("http://127.0.0.1:" in line["message"] for line in lines)


async def test_mocks_and_compatible_models_need_no_litellm_and_no_doors(project: Project) -> None:
    async with StubModel().serve() as stub:
        project.agent("analyst")
        project.agent(
            "remote", f"model: {{name: openai/stub, api_base: '{stub.url}', api_key: none}}"
        )
        up = project.up(PYTHONPROFILEIMPORTTIME="1").ready()
        async with project.wire() as wire:
            for agent in ("analyst", "remote"):
                await wire.task(agent, f"to-{agent}")
                assert (await wire.result(f"to-{agent}")).content["success"]
        assert stub.count == 1
        assert up.get("/readyz")[0] == 200
        assert "agentd.doors.app" in up.err
        for door in ("agentd.doors.api", "agentd.doors.openai"):
            assert door not in up.err, "imported before the first request"
        assert up.get("/nosuch")[0] == 404
        until(lambda: "agentd.doors.openai" in up.err, "the import of the doors")
        assert up.stop() == 0
    assert {"agentd", "nats", "aiohttp"} <= imported(up.err)
    assert "litellm" not in imported(up.err)


async def test_help_imports_nothing_heavy(project: Project) -> None:
    project.environ["PYTHONPROFILEIMPORTTIME"] = "1"
    done = await project.run("--help")
    assert "ask" in done.out
    heavy = {"nats", "aiohttp", "jinja2", "litellm", "yaml", "pydantic", "rich"}
    assert imported(done.err) & heavy == set()


async def test_ask_up_needs_no_daemon(project: Project) -> None:
    project.agent("analyst", prompt="You are alone.")
    # One after the other: the server ends with the command that started it.
    answered = await project.run("ask", "analyst", "hello", "--up", "manifests")
    untaken = await project.run("ask", "late", "hello", "--up", "manifests")
    assert answered.code == 0
    assert answered.out == '[mock/echo] I was told: "You are alone." and asked: "hello"\n'
    assert untaken.code == 1
    assert "analyst (analyst)" in untaken.err
    server = project.server()["pid"]
    until(lambda: not Path(f"/proc/{server}").exists(), "the end of its server")


async def test_sigusr1_writes_state_tasks_and_stacks_to_the_log(project: Project) -> None:
    project.agent("analyst")
    project.slow_agent("slow", "60s", "limits: {concurrency: 3}")
    up = project.up().ready()
    async with project.wire() as wire:
        await wire.task("slow", "stuck")
        running = 'agentd_tasks_in_flight{agent_id="slow"} 1.0'
        await eventually(lambda: running in up.get("/metrics")[1], "the task runs")
        up.send_signal(signal.SIGUSR1)
        until(lambda: "state report, threads:" in up.err, "the report")
        await wire.task("analyst", "afterwards")
        assert (await wire.result("afterwards")).content["success"]
    report = up.err
    assert f"process {up.pid}, up for" in report
    assert f"NATS: connected to {project.server()['url']}" in report
    assert re.search(r"  analyst: revision [0-9a-f]{12}, ready, 0 of 8 running, 0 done", report)
    assert re.search(r"  slow: revision [0-9a-f]{12}, ready, 1 of 3 running", report)
    assert re.search(
        r"  stuck on agents\.dev\.task\.slow\.general: attempt 1, stored [\d.]+ s ago, "
        r"running for [\d.]+ s, agent slow, in \S+ \(agentd/models/\S+\.py:\d+\)\n",
        report,
    )
    assert re.search(r"  slow: 1 agent, 1 deliveries held", report)
    assert "2 tasks: pull analyst, pull slow\n" in report
    assert re.search(r"    Handler\.handle \(agentd/agent/handler\.py:\d+\)", report)
    assert re.search(r"  MainThread\n +\S+ \(\S+:\d+\)", report)
    assert len(report) < 50_000
    assert "You are slow." not in report
    up.send_signal(signal.SIGKILL)  # a graceful end would wait for the task that runs for a minute


async def test_sigusr1_is_answered_before_there_is_a_server(project: Project) -> None:
    project.agent("analyst")
    up = project.up("--nats", f"nats://127.0.0.1:{free_port()}", "--log-format", "json")
    until(lambda: "waiting for NATS" in up.err, "that it waits")
    up.send_signal(signal.SIGUSR1)
    until(lambda: "state report, threads" in up.err, "the report")
    assert up.stop() == 0
    messages = [json.loads(line)["message"] for line in up.err.splitlines()]
    assert any("starting: no agent runs yet" in message for message in messages)
