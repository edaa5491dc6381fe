"""The research team in examples/: seven agents that answer a question together."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from outside import Daemon, Done, Project, Seen, Wire, eventually, until

from agentd.catalog.catalog import load

TEAM = Path(__file__).parents[2] / "examples" / "research-team"
AGENTS = ("planner", "researcher", "factchecker", "analyst", "coder", "synthesizer", "reviewer")
QUESTION = "Should our town replace its diesel buses with electric ones?"

SUBTASKS = {
    "result.plan.general": 1,
    "result.research.question": 3,
    "result.factcheck.claim": 4,
    "result.analysis.question": 1,
    "result.coding.estimate": 1,
    "result.synthesis.joined": 1,
}
REVIEWED = {"result.synthesis.draft": 1, "result.review.draft": 2, "event.answer.ready": 1}


@pytest.fixture
def team(project: Project) -> Project:
    """A project with a copy of the example, whose mocks take no time."""
    shutil.copytree(TEAM, project.root, dirs_exist_ok=True)
    for mock in (project.root / "manifests/mocks").iterdir():
        mock.write_text(re.sub(r"(latency|interval): \d+ms", r"\1: 1ms", mock.read_text()))
    return project


def ask(project: Project, *more: str) -> Any:
    return project.run("ask", "plan", QUESTION, "--until", "event.answer.ready", *more)


async def facts(wire: Wire) -> Counter[str]:
    """The number of facts of each kind in the log."""
    seen = [*await wire.recorded("result.>"), *await wire.recorded("event.*.ready")]
    return Counter(topic(each) for each in seen)


def topic(seen: Seen) -> str:
    return ".".join(seen.subject.split(".")[2:5])


def senders(done: Done) -> list[str]:
    """The senders of the steps on standard error, in order."""
    return [line.split()[0] for line in done.err.splitlines() if line]


@pytest.mark.parametrize("environ", [{}, {"AGENTD_MODEL": "openai/gpt-4o-mini"}], ids=str)
def test_it_loads_without_problems_with_mocks_and_with_a_model(environ: dict[str, str]) -> None:
    catalog = load(TEAM / "manifests", environ=environ)
    models = {spec.manifest.model[0].name for spec in catalog.agents.values()}

    assert [problem.render() for problem in catalog.problems] == []
    assert catalog.agents.keys() == set(AGENTS)
    assert models == {environ.get("AGENTD_MODEL", "mock/script")}


@pytest.mark.parametrize("name", AGENTS)
def test_each_agent_is_twelve_lines_or_fewer(name: str) -> None:
    text = (TEAM / "manifests" / f"{name}.yaml").read_text()

    assert text.startswith("# yaml-language-server: $schema=../../../agent.schema.json\n")
    assert text.count("\n") <= 12


async def test_all_agents_contribute_to_an_answer(team: Project) -> None:
    team.up().ready()

    done = await ask(team)

    assert done.code == 0, done.err
    assert done.out.startswith("Yes, but bus by bus")
    assert "took them two years" in done.out
    assert set(senders(done)) == set(AGENTS)
    assert senders(done)[-4:] == ["synthesizer", "reviewer", "synthesizer", "reviewer"]
    async with team.wire() as wire:
        assert await facts(wire) == SUBTASKS | REVIEWED
        [joined] = await wire.recorded("task._agent.synthesizer.*")
        assert joined.content["complete"]


async def test_any_other_question_is_answered_too(team: Project) -> None:
    team.up().ready()

    piano = "Should I learn the piano, at the cost of an experience in winter?"
    done = await team.run("ask", "plan", piano, "--until", "event.answer.ready")

    assert (done.code, set(senders(done))) == (0, set(AGENTS)), done.err
    assert "AGENTD_MODEL" in done.out
    async with team.wire() as wire:
        for domain in ("research", "factcheck", "analysis", "coding", "synthesis", "review"):
            await wire.task(domain, f"alone-{domain}", piano)
            answer = await wire.result(f"alone-{domain}")
            assert answer.content["success"], answer.content


async def test_a_draft_is_sent_back_twice_at_most(team: Project) -> None:
    never = {"accepted": False, "remarks": ["It could be better."]}
    team.write("manifests/mocks/reviewer.yaml", json.dumps([json.dumps(never)]))
    team.up().ready()

    done = await ask(team, "--json")

    assert done.code == 0, done.err
    assert json.loads(done.out)["payload"]["content"].startswith("Yes, but bus by bus")
    async with team.wire() as wire:
        often = {"result.synthesis.draft": 2, "result.review.draft": 3, "event.answer.ready": 1}
        assert await facts(wire) == SUBTASKS | often


@pytest.mark.timeout(90)
async def test_kill_9_of_a_replica_loses_and_doubles_nothing(team: Project) -> None:
    """The server delivers its tasks again when it receives no more beats for them."""
    mock = "manifests/mocks/researcher.yaml"
    team.write(mock, (TEAM / mock).read_text().replace("latency: 200ms", "latency: 1s"))
    with (team.root / "manifests/researcher.yaml").open("a") as manifest:
        manifest.write("limits: {concurrency: 1}\n")
    team.up().ready()
    victim = team.up().ready()

    asked = asyncio.create_task(ask(team))
    await asyncio.to_thread(until, lambda: researching(victim), "its share of the work")
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    done = await asked

    assert done.code == 0, done.err
    assert "took them two years" in done.out
    async with team.wire() as wire:
        assert await facts(wire) == SUBTASKS | REVIEWED
        assert await wire.count("task._agent.synthesizer.*") == 1


def researching(up: Daemon) -> bool:
    return 'agentd_tasks_in_flight{agent_id="researcher"} 1.0' in up.get("/metrics")[1]


async def test_an_agent_takes_part_as_soon_as_its_file_exists(team: Project) -> None:
    team.up().ready()
    async with team.wire() as wire:
        team.write(
            "manifests/herald.yaml",
            "capabilities: [news]\ninstructions: Make a headline of this.\n"
            "subscribe: event.answer.ready\n",
        )
        await wire.event("online", "herald")

        assert (await ask(team)).code == 0

        [headline] = await eventually(lambda: wire.recorded("result.news.ready.*"))
        assert "Yes, but bus by bus" in headline.content["data"]
        for name in AGENTS:
            assert len(await wire.events("online", name)) == 1
            assert await wire.events("reloaded", name) == []
