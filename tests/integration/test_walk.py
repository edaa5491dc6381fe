"""The script that prints the walk of a task, on a real server; and how long the walk may be."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.walk import Step, Tracer, by_file, common, only_constructed

ROOT = Path(__file__).parents[2]
MOST_FILES = 36
MOST_PACKAGES = 8


@pytest.fixture(scope="module")
def printed() -> list[str]:
    command = [sys.executable, ROOT / "scripts" / "walk.py"]
    return subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()


def test_the_walk_is_no_longer_than_a_reader_can_follow(printed: list[str]) -> None:
    counts = re.match(r"(\d+) files in (\d+) packages", printed[0])

    assert counts
    assert int(counts[1]) <= MOST_FILES
    assert int(counts[2]) <= MOST_PACKAGES


def test_the_walk_lists_each_file_once_in_the_order_of_its_first_call(printed: list[str]) -> None:
    steps = [line.split()[1] for line in printed[1:-1]]
    modules = [step.partition(":")[0] for step in steps]

    assert printed[0].startswith(f"{len(modules)} files")
    assert len(set(modules)) == len(modules)
    path = ["agentd.queue.queue", "agentd.agent.handler", "agentd.run.loop", "agentd.models.mock"]
    assert [module for module in modules if module in path] == path


def test_the_walk_contains_no_file_that_serves_other_kinds_of_tasks(printed: list[str]) -> None:
    assert "agentd.agent.joins" not in " ".join(printed)
    assert "agentd.runtime" not in " ".join(printed)


def test_the_documented_walk_names_the_files_of_the_real_one(printed: list[str]) -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    table = text.partition("## The walk of a task")[2].partition("## The walk of an edit")[0]
    documented = set(re.findall(r"`([\w/]+)\.py`", table))
    modules = [line.split()[1].partition(":")[0].split(".", 1)[1] for line in printed[1:-1]]
    walked = {each.replace(".", "/") for each in modules}
    heart = {each for each in walked if each.startswith(("agent/", "queue/", "run/"))}

    assert heart - documented == set()


def step(text: str, *, generated: bool = False) -> Step:
    module, _, function = text.partition(":")
    return Step(module, function, generated)


def test_only_steps_of_every_task_are_kept_in_the_order_of_the_last() -> None:
    a, b, timer = step("agentd.a:f"), step("agentd.b:g"), step("agentd.timer:tick")
    watch = step("agentd.runtime.watch:look")

    assert common([[a, timer, b, watch], [b, watch, a]]) == [b, a]


def test_a_file_counts_when_a_function_that_is_written_in_it_runs() -> None:
    steps = [
        step("agentd.a:__init__", generated=True),
        step("agentd.b:__init__", generated=True),
        step("agentd.a:f"),
        step("agentd.a:g"),
    ]

    assert by_file(steps) == [step("agentd.a:f")]
    assert only_constructed(steps) == ["agentd.b"]


def test_files_beside_the_packages_are_one_package() -> None:
    assert step("agentd.log:emit").package == "agentd"
    assert step("agentd.queue.queue:pull").package == "agentd.queue"


SAMPLE = """
import types

@types.coroutine
def pause():
    yield

async def inner():
    await pause()
    await pause()

async def outer():
    await inner()

def called():
    pass
"""


def test_a_coroutine_that_goes_on_is_no_call() -> None:
    sample: dict[str, Any] = {"__name__": "agentd.sample"}
    exec(compile(SAMPLE, "sample.py", "exec"), sample)
    waiting = sample["outer"]()
    waiting.send(None)
    with Tracer() as tracer:
        tracer.recording = True
        waiting.send(None)
        sample["called"]()
        tracer.recording = False

    assert [step.function for step in tracer.take()] == ["pause", "called"]
