"""The torture suite as users run it: its short form passes, it can fail, and it cleans up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from outside import AGENTD, until

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


def torture(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [AGENTD, "torture", *arguments], check=False, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def short_form() -> dict[str, dict[str, Any]]:
    """The report of each scenario by its name; run side by side, since most of them mostly wait."""
    done = torture("--short", "--json", "--jobs", "4", "--seed", "1")
    assert done.stdout, done.stderr
    summary = json.loads(done.stdout)
    assert done.returncode == (0 if summary["passed"] else 1)
    return {report["name"]: report for report in summary["scenarios"]}


@pytest.mark.parametrize("name", [scenario.name for scenario in SCENARIOS])
def test_a_scenario_breaks_no_promise(short_form: dict[str, dict[str, Any]], name: str) -> None:
    assert short_form[name]["broken"] == []


@pytest.mark.parametrize(("safeguard", "scenario", "sentence"), MISSED)
def test_a_scenario_notices_a_missing_safeguard(
    safeguard: str, scenario: str, sentence: str
) -> None:
    done = torture(scenario, "--short", "--json", "--seed", "4", "--without", safeguard)
    assert done.returncode == 1
    [report] = json.loads(done.stdout)["scenarios"]
    assert sentence in " ".join(report["broken"])


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [AGENTD, "torture", "kill9", "--short"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    until(lambda: [*tmp_path.glob("*/replica1.1.log")], "a replica has begun")
    assert processes_of(tmp_path)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
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
    listed = torture("--list").stdout.splitlines()
    assert len(listed) == len(SCENARIOS)
    assert listed[0].startswith("kill9        2 replicas, kill -9 at random")


@pytest.mark.parametrize("arguments", [["nonsense"], ["kill9", "--without", "nonsense"]])
def test_an_unknown_name_is_refused_with_the_known_ones(arguments: list[str]) -> None:
    done = torture(*arguments)
    assert done.returncode == 2
    assert "there is no" in done.stderr
    assert "kill9" in done.stderr or "ack-last" in done.stderr
