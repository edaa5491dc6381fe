"""`agentd ask --until`: a task is followed until the fact that ends it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from outside import Project, projects


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    for project in projects(tmp_path_factory.mktemp("until") / "project"):
        project.slow_agent(
            "splitter", "1ms", "emit: [{task: part.one, for_each: output}]", text="'[1, 2]'"
        )
        refuses = "{name: mock/script, script: [{error: {status: 400, message: never}}]}"
        project.agent("mute", f"model: {refuses}", "emit: [{event: whole.ready}]")
        project.slow_agent("part", "1ms", text="a part")
        project.slow_agent(
            "whole",
            "1ms",
            "join: {wait_for: result.part.*, count: all}",
            "emit: [{event: whole.ready, content: \"{'all': content.facts | length}\"}]",
            text="the whole",
        )
        project.up().ready()
        yield project


async def test_the_answer_is_the_content_of_the_event(here: Project) -> None:
    done = await here.run("ask", "splitter", "split", "--until", "event.whole.ready")

    assert (done.code, done.out) == (0, '{"all": 2}\n')
    steps = sorted(line.split(maxsplit=1) for line in done.err.splitlines())
    assert steps == [
        ["part", "a part"],
        ["part", "a part"],
        ["splitter", "[1, 2]"],
        ["whole", "the whole"],
    ]


async def test_a_result_can_end_it(here: Project) -> None:
    done = await here.run("ask", "splitter", "split", "--until", "result.whole.*", "--json")

    assert done.code == 0, done.err
    assert json.loads(done.out)["payload"]["content"]["data"] == "the whole"


async def test_the_failure_of_the_task_ends_it(here: Project) -> None:
    done = await here.run("ask", "mute", "hello", "--until", "event.whole.ready")

    assert (done.code, done.out) == (1, "")
    assert done.err == "agentd: model_rejected: mock/script: never\n"


async def test_it_ends_after_its_timeout(here: Project) -> None:
    done = await here.run("ask", "splitter", "split", "--until", "event.never.published", "-t", "2")

    assert done.code == 1
    assert "no event.never.published within 2 s: " in done.err
    assert " came last; " in done.err
    assert "; to end it: agentd stop --task " in done.err


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (
            ["--until", "whole.ready"],
            "must be `result.` or `event.` and two more parts; for example",
        ),
        (["--until", "event.a.b", "--all"], "it does not go with --all or --gather"),
        (["--until", "event.a.b", "--in", "5s"], "they do not go with --at or --in"),
    ],
)
async def test_an_invalid_combination_of_flags_is_an_error(
    here: Project, more: list[str], problem: str
) -> None:
    done = await here.run("ask", "splitter", "split", *more)

    assert done.code == 2
    assert problem in " ".join(done.err.replace("│", " ").split())
