"""`agentd ask --all` and `--gather`: all capable agents are asked, their answers printed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from outside import Project, projects


@pytest.fixture(scope="module")
def voters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    for project in projects(tmp_path_factory.mktemp("voters") / "project"):
        for name, answer in (("ann", "Yes."), ("bob", " yes"), ("eve", "No")):
            project.agent(
                name,
                "capabilities: [voting]",
                f"model: {{name: mock/script, script: ['{answer}']}}",
            )
        refuses = "{name: mock/script, script: [{error: {status: 400, message: never}}]}"
        project.agent("mute", "capabilities: [voting, silence]", f"model: {refuses}")
        project.up().ready()
        yield project


async def test_all_answers_are_printed_with_their_agents(voters: Project) -> None:
    done = await voters.run("ask", "voting", "--all", "is it so?")
    assert done.code == 0
    assert sorted(done.out.splitlines()) == ["ann: Yes.", "bob:  yes", "eve: No"]
    assert done.err == "mute: model_rejected: mock/script: never\n"


async def test_a_majority_is_more_than_half_of_the_agents_asked(voters: Project) -> None:
    done = await voters.run("ask", "voting", "--gather", "majority", "is it so?", "--json")
    report = json.loads(done.out)
    assert (done.code, report["agreed"]) == (1, None)  # two of four are not more than half
    assert report["asked"] == ["ann", "bob", "eve", "mute"]


async def test_the_first_success_is_the_answer(voters: Project) -> None:
    done = await voters.run("ask", "voting", "--gather", "first", "is it so?")
    assert (done.code, done.out.strip()) in ((0, "Yes."), (0, "yes"), (0, "No"))
    silent = await voters.run("ask", "silence", "--gather", "first", "is it so?")
    assert (silent.code, silent.out) == (1, "")
    assert "mute: model_rejected: mock/script: never" in silent.err
