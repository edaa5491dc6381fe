"""The report of a case, and the JUnit XML of many."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from agentd.testing.cases.cassette import Recording
from agentd.testing.cases.junit import JunitReport, write
from agentd.testing.cases.player import CaseRun

NEW, OLD = Recording(turns=["new"]), Recording(turns=["old"])
GOOD = CaseRun(mismatches=(), seconds=0.5, turns=1, recording=NEW)
BAD = CaseRun(mismatches=("too long", "too dull"), seconds=0.25, turns=1, recording=OLD)


@pytest.mark.parametrize(
    ("runs", "needed", "passed"),
    [([GOOD], 1, True), ([BAD], 1, False), ([GOOD, BAD], 1, True), ([GOOD, BAD], 2, False)],
)
def test_a_case_passes_if_enough_runs_pass(runs: list[CaseRun], needed: int, passed: bool) -> None:
    assert JunitReport("me", "c", runs, needed).passed is passed


def test_a_mismatch_of_several_runs_is_named_once() -> None:
    report = JunitReport("me", "c", [BAD, GOOD, BAD], 3)

    assert report.mismatches == ["too long", "too dull"]
    assert report.seconds == 1.0


def test_the_file_has_a_suite_for_each_agent_and_a_failure_for_each_failed_case(
    tmp_path: Path,
) -> None:
    file = tmp_path / "new" / "report.xml"
    write(
        file,
        [
            JunitReport("me", "first", [GOOD], 1),
            JunitReport("you", "other", [GOOD], 1),
            JunitReport("me", "second", [BAD], 1),
        ],
    )

    me, you = ElementTree.parse(file).getroot()
    assert me.attrib == {"name": "me", "tests": "2", "failures": "1", "time": "0.750"}
    assert you.attrib == {"name": "you", "tests": "1", "failures": "0", "time": "0.500"}
    first, second = me
    assert (first.get("name"), first.get("classname"), len(first)) == ("first", "me", 0)
    assert second[0].get("message") == "too long"
    assert second[0].text == "too long\ntoo dull"


@pytest.mark.parametrize(
    ("runs", "recording"),
    [([GOOD], NEW), ([BAD, GOOD], NEW), ([BAD], None), ([BAD, BAD], None)],
)
def test_only_a_run_that_passed_is_recorded(
    runs: list[CaseRun], recording: Recording | None
) -> None:
    assert JunitReport("me", "c", runs, 1).recording is recording
