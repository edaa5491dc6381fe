"""`agentd graph` and `agentd route`, on files and on running agents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from outside import Project, eventually, projects


@pytest.fixture
def project(tmp_path: Path, nats_url: str, env: str) -> Iterator[Project]:
    for project in projects(tmp_path / "project", NATS_URL=nats_url, AGENTD_ENV=env):
        project.agent("splitter", "emit: [{task: digger.part, for_each: output}]")
        project.agent("digger", "emit: [{event: part.dug}]")
        project.agent("listener", "subscribe: event.part.dug")
        yield project


async def test_a_graph_of_files_needs_no_server(project: Project) -> None:
    text = await project.run("graph")
    dot = await project.run("graph", "--format", "dot")
    shown = json.loads((await project.run("graph", "--json")).out)

    assert text.out.startswith("splitter\n  takes        task.splitter.*\n")
    assert "  emits        task.digger.part → digger  (each of output)\n" in text.out
    assert "  subscribes   event.part.dug ← digger\n" in text.out
    assert dot.out.startswith("digraph agentd {\n")
    assert "live" not in shown


async def test_a_graph_with_a_broken_file_shows_the_problem_too(project: Project) -> None:
    project.write("manifests/digger.yaml", "capabilitys: [dig]\n")

    drawn = await project.run("graph")

    assert drawn.code == 2
    assert "did you mean `capabilities`?" in drawn.err
    assert "2 agents\n" in drawn.out


async def test_a_live_graph_shows_running_agents_and_files(project: Project) -> None:
    project.up().ready()
    (project.root / "manifests" / "listener.yaml").unlink()
    project.agent("newcomer")

    async def as_edited() -> str:
        seen = await project.run("graph", "--live")
        return seen.out if "newcomer\n  1 replica" in seen.out else ""

    text = await eventually(as_edited)
    assert "splitter\n  1 replica · 0 of 8 running · 0 done\n" in text

    project.write("elsewhere/stranger.yaml", "capabilities: [x]\ninstructions: Hi.\n")
    elsewhere = await project.run("graph", "elsewhere", "--live", "--json")
    shown = json.loads(elsewhere.out)
    notes = {each["label"]: each["note"] for each in shown["nodes"] if each["kind"] == "agent"}
    assert notes["stranger"] == "not running"
    assert notes["digger"].endswith("not in these files")
    assert shown["live"]["digger"]["rate"] == 0.0


async def test_a_route_is_explained_by_the_running_agents(project: Project) -> None:
    project.up().ready()

    work = await project.run("route", "digger.part")
    fact = await project.run("route", "event.part.dug", "--json")
    nobody = await project.run("route", "diger")

    assert work.code == 0
    assert "(agents online)\none of these agents takes it:\n  + digger " in work.out
    assert "(1 replica, 0 of 8 busy)" in work.out
    assert "  - splitter  lacks the capability `digger` (has splitter)\n" in work.out
    assert json.loads(fact.out)["takers"] == ["listener"]
    assert nobody.code == 1
    assert "no agent takes it; did you mean `digger`?" in nobody.out


async def test_a_route_is_explained_by_the_files(project: Project) -> None:
    message = {"target": "digger", "routing": {"exclusions": ["splitter"]}}
    project.write("task.json", json.dumps(message))
    tapped = {"subject": "agents.dev.task.digger.part.5", "message": {"payload": {"content": 1}}}

    given = ["--manifests", "manifests"]
    from_file = await project.run("route", "task.json", *given)
    from_text = await project.run("route", "digger", json.dumps(message), *given)
    from_tap = await project.run("route", "-", *given, "--env", "dev", stdin=json.dumps(tapped))

    event = {"type": "event", "payload": {"content": 1}}
    as_sent = await project.run("route", "part.dug", json.dumps(event), *given)

    assert "each of these agents receives it:\n  + listener " in as_sent.out
    assert from_file.out == from_text.out
    assert (
        "one of these agents takes it:\n  + digger    the message is for it by name\n"
        in from_file.out
    )
    assert "+ digger    has the capability `digger`" in from_tap.out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["{}"], "names no destination"),
        (["x", "[1]"], "not a file and not a JSON message"),
        (["x", '{"payload": 3}'], "not a valid message"),
        (["agents.other.task.x.y"], "say --env other"),
        (["a b"], "is no target"),
    ],
)
async def test_an_invalid_destination_or_message_is_an_error(
    project: Project, arguments: list[str], complaint: str
) -> None:
    done = await project.run("route", *arguments, "--manifests", "manifests")

    assert done.code == 2
    assert complaint in done.err
