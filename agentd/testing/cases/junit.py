"""The report of a case, and the JUnit XML file that CI servers read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from agentd.printable import printable
from agentd.testing.cases.cassette import Recording
from agentd.testing.cases.player import CaseRun


@dataclass(frozen=True)
class JunitReport:
    """A case and its runs. The case has passed if at least `needed` runs have passed."""

    agent: str
    case: str
    runs: Sequence[CaseRun]
    needed: int

    @property
    def passed(self) -> bool:
        return sum(run.passed for run in self.runs) >= self.needed

    @property
    def seconds(self) -> float:
        return sum(run.seconds for run in self.runs)

    @property
    def mismatches(self) -> list[str]:
        """The sentences about the failed runs, without repetitions."""
        return list(dict.fromkeys(text for run in self.runs for text in run.mismatches))

    @property
    def changes(self) -> tuple[str, ...]:
        """What differs from the recording that was replayed: "prompt", "tools" and the like."""
        return self.runs[0].changes

    @property
    def recording(self) -> Recording | None:
        """What is to be recorded: the first run that passed. A failed run replaces nothing."""
        return next((run.recording for run in self.runs if run.passed), None)


def write(file: Path, reports: Sequence[JunitReport]) -> None:
    """Writes the reports to a file, as one test suite for each agent."""
    root = ElementTree.Element("testsuites")
    for agent in dict.fromkeys(report.agent for report in reports):
        mine = [report for report in reports if report.agent == agent]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=agent,
            tests=str(len(mine)),
            failures=str(sum(not report.passed for report in mine)),
            time=f"{sum(report.seconds for report in mine):.3f}",
        )
        for report in mine:
            _add(suite, report)
    file.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)


def _add(suite: ElementTree.Element, report: JunitReport) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=report.agent,
        name=report.case,
        time=f"{report.seconds:.3f}",
    )
    if not report.passed:
        # XML cannot hold control characters.
        text = printable("\n".join(report.mismatches), lines=True)
        failure = ElementTree.SubElement(case, "failure", message=text.split("\n")[0])
        failure.text = text
