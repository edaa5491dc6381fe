"""`agentd up`: what it shows, what keeps it from starting, health, and what it never imports."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import time
from collections.abc import Sequence

from outside import Daemon, Project, eventually, until

from agentd.testing.stub_model import StubModel


def imported(times: str) -> set[str]:
    """The top-level packages in the output of `-X importtime`."""
    lines = (line for line in times.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


async def codes(project: Project, *lines: Sequence[str]) -> list[int]:
    return [done.code for done in await asyncio.gather(*(project.run(*line) for line in lines))]


async def test_up_shows_its_agents_and_ends_with_ctrl_c(project: Project) -> None:
    project.agent("analyst", "capabilities: [analysis, sentiment]")
    project.agent("critic", "capabilities: [critique]")
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
    project.agent("early", "tools: [{python: weather.py:forecast}]")
    up = project.up().ready()
    until(lambda: "manifests/broken.yaml:2:1" in up.err, "the place of the mistake")
    assert "did you mean `capabilities`?" in up.err
    assert "^^^^" in up.err
    assert "2 agents ready" in up.out
    assert re.search(r"manifests/early\.yaml:2:1: warning: .*tools", up.err + up.out)


async def test_what_is_wrong_with_the_files_is_told_with_exit_code_2(project: Project) -> None:
    project.write("manifests/first.yaml", "capabilities: [a]\ncapabilites: [a]\n")
    project.write("manifests/second.yaml", "capabilities: [a\n")
    project.agent("third", prompt="{{ nosuch }}")
    project.write("none/readme.txt", "nothing")
    project.write("good/a.yaml", "capabilities: [a]\ninstructions: Good.\n")
    broken, nothing, no_folder, a_file, http, env = await asyncio.gather(
        project.run("up", "--http", "off"),
        project.run("up", "none"),
        project.run("up", "nosuch"),
        project.run("up", "manifests/first.yaml"),
        project.run("up", "good", "--http", "nonsense"),
        project.run("up", "good", "--env", "prompt"),
    )
    assert [each.code for each in (broken, nothing, no_folder, a_file, http, env)] == [2] * 6
    for place in ("manifests/first.yaml:2:1", "manifests/second.yaml:", "prompts/third.md:1:"):
        assert place in broken.err
    assert "agentd new" in nothing.err
    assert "nosuch" in no_folder.err
    assert "name its folder" in a_file.err
    assert "nonsense" in http.err
    assert "prompt" in env.err


async def test_what_keeps_a_command_from_its_server_ends_it_with_exit_code_3(
    project: Project,
) -> None:
    project.agent("analyst")
    nowhere = ("--nats", f"nats://127.0.0.1:{free_port()}")
    assert (
        await codes(
            project,
            ("ps",),
            ("ask", "analyst", "hello"),
            ("tap",),
            ("ps", *nowhere),
            ("ask", "analyst", "hello", *nowhere),
        )
        == [3] * 5
    )
    project.write(".agentd", "a file")
    no_folder = await project.run("up", "--http", "off")
    (project.root / ".agentd").unlink()
    project.write(".agentd/store", "a file")
    no_store = await project.run("up", "--http", "off")
    assert (no_folder.code, no_store.code) == (3, 3)
    assert ".agentd" in no_folder.err
    assert "nats-server" in no_store.err
    assert "Traceback" not in no_folder.err + no_store.err


async def test_up_waits_for_its_server_and_says_so(project: Project) -> None:
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
    second = project.up(http=address).ready()
    assert first.http == f"http://{address}"
    assert second.http != first.http
    await project.ask("analyst")
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


async def test_logs_for_machines_are_json_and_say_where_health_is(project: Project) -> None:
    project.agent("analyst")
    up = project.up("--log-format", "json")
    until(lambda: "ready" in up.err, "that it is ready")
    await project.ask("analyst")
    assert up.stop() == 0
    lines = [json.loads(line) for line in (up.out + up.err).splitlines()]
    assert all({"ts", "level", "logger", "message"} <= line.keys() for line in lines)
    [done] = [line for line in lines if line.get("status") == "success"]
    assert (done["agent"], len(done["task"])) == ("analyst", 32)
    assert any("http://127.0.0.1:" in line["message"] for line in lines)


async def test_mocks_and_compatible_models_need_no_litellm(project: Project) -> None:
    async with StubModel().serve() as stub:
        project.agent("analyst")
        project.agent(
            "remote", f"model: {{name: openai/stub, api_base: '{stub.url}', api_key: none}}"
        )
        up = project.up(PYTHONPROFILEIMPORTTIME="1").ready()
        await asyncio.gather(project.ask("analyst"), project.ask("remote"))
        assert stub.count == 1
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
    project.write("elsewhere/manifests/late.yaml", "capabilities: [late]\ninstructions: Late.\n")
    answer = await project.ask("analyst", "hello", "--up", "manifests")
    assert answer == '[mock/echo] I was told: "You are alone." and asked: "hello"\n'
    refused = await project.run("ask", "analyst", "hello", "--up", "nosuch")
    nobody = await project.run("ask", "late", "hello", "--up", "manifests")
    assert (refused.code, nobody.code) == (2, 1)
    assert "analyst (analyst)" in nobody.err
    assert (await project.run("ps")).code == 3  # nothing of it goes on


async def test_ask_up_beside_a_daemon_shares_its_server(project: Project) -> None:
    project.agent("analyst")
    up: Daemon = project.up().ready()
    server = project.server()
    project.write("more/late.yaml", "capabilities: [late]\ninstructions: Late.\n")
    assert 'told: "Late."' in await project.ask("late", "hello", "--up", "more")
    assert project.server() == server
    began = time.monotonic()
    assert "analyst" in await project.ask("analyst")
    assert up.process.poll() is None
    assert time.monotonic() - began < 20
