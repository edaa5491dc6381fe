"""The torture suite as users run it: its short form passes, it can fail, and it cleans up."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import forks
import pytest
from outside import Done, until

from agentd.testing.torture.scenarios import SCENARIOS
from tests.waiting import PATIENCE

pytestmark = pytest.mark.timeout(300)

# The safeguard that is disabled, the scenario that fails then, and its report.
MISSED = [
    ("ack-last", "kill9", "were lost"),
    ("create-only", "zombie", "have two outcomes"),
    ("batch", "fanout", "were lost"),
    ("joined-once", "join", "started twice"),
    ("stream-end", "llm", "ended with the wrong outcome"),
    ("budget", "spend", "spent more than their budget"),
]


# `fanout` is played without its safeguard below; `join` has its agents, points and promises, too.
PLAYED = [scenario.name for scenario in SCENARIOS if scenario.name != "fanout"]


@contextmanager
def tortured(
    *arguments: str, environ: Mapping[str, str] = os.environ
) -> Generator[tuple[forks.Process, Callable[[], Done]]]:
    """The process of a run, and a function that waits for its end."""
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
        process = forks.start(
            ["torture", *arguments], cwd=Path.cwd(), environ=environ, streams=(given, out, err)
        )

        def end() -> Done:
            code = process.wait()
            out.seek(0)
            err.seek(0)
            return Done(code, out.read().decode(), err.read().decode())

        try:
            yield process, end
        finally:
            process.kill()


def torture(*arguments: str) -> Done:
    with tortured(*arguments) as (_, end):
        return end()


@pytest.fixture(scope="module")
def short_form() -> dict[str, dict[str, Any]]:
    """The report of each scenario by its name; run side by side, since most of them mostly wait."""
    done = torture(*PLAYED, "--short", "--json", "--jobs", "4", "--seed", "1")
    assert done.out, done.err
    summary = json.loads(done.out)
    assert done.code == (0 if summary["passed"] else 1)
    return {report["name"]: report for report in summary["scenarios"]}


@pytest.mark.parametrize("name", PLAYED)
def test_a_scenario_breaks_no_promise(short_form: dict[str, dict[str, Any]], name: str) -> None:
    assert short_form[name]["broken"] == []


@pytest.mark.parametrize(("safeguard", "scenario", "sentence"), MISSED)
def test_a_scenario_notices_a_missing_safeguard(
    safeguard: str, scenario: str, sentence: str
) -> None:
    done = torture(scenario, "--short", "--json", "--seed", "4", "--without", safeguard)
    assert done.code == 1
    [report] = json.loads(done.out)["scenarios"]
    assert sentence in " ".join(report["broken"])


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    with tortured("kill9", "--short", environ=environ) as (process, end):
        until(lambda: [*tmp_path.glob("*/replica1.1.log")], "a replica has begun")
        assert processes_of(tmp_path)
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        assert end().code == 130
    assert processes_of(tmp_path) == []
    assert [*tmp_path.iterdir()] == []


def processes_of(folder: Path) -> list[str]:
    """The processes whose command line or environment contains the folder."""
    found: list[str] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue  # it ended, or is another user's
        if str(folder).encode() in text and int(entry.name) != os.getpid():
            found.append(f"{entry.name} {text[:100]!r}")
    return found


def test_the_scenarios_are_listed_with_their_goals() -> None:
    listed = torture("--list").out.splitlines()
    assert len(listed) == len(SCENARIOS)
    assert listed[0].startswith("kill9        2 replicas, kill -9 at random")


@pytest.mark.parametrize("arguments", [["nonsense"], ["kill9", "--without", "nonsense"]])
def test_an_unknown_name_is_refused_with_the_known_ones(arguments: list[str]) -> None:
    done = torture(*arguments)
    assert done.code == 2
    assert "there is no" in done.err
    assert "kill9" in done.err or "ack-last" in done.err
