"""The findings of a scenario: figures, and broken promises."""

from __future__ import annotations

from agentd.testing.torture.findings import Findings


def test_a_promise_that_holds_is_not_reported() -> None:
    findings = Findings()
    findings.require(True, "never shown")
    findings.at_most("longest_drain", 1.0, 1.0)

    assert findings.broken == []
    assert findings.figures == {"longest_drain": 1.0}


def test_a_broken_promise_is_reported_in_a_sentence() -> None:
    findings = Findings()
    findings.require(False, "no task was refused")
    findings.at_most("longest_drain", 1.5, 1.0, " s")

    assert findings.broken == ["no task was refused", "longest drain 1.5 > 1 s"]


def test_the_worst_value_of_a_figure_is_kept() -> None:
    findings = Findings()
    for value in (1.0, 3.00049, 2.0):
        findings.at_most("recovered_after", value, 5.0)

    assert findings.figures == {"recovered_after": 3.0}


def test_a_fault_that_met_no_work_is_reported() -> None:
    findings = Findings()
    findings.met["a kill"] += 0
    findings.met["a pause"] += 0
    findings.met["a pause"] += 3
    findings.close()

    assert findings.broken == ["nothing is shown: a kill met no work"]
