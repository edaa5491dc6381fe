"""How the report of a scenario is printed, and which size it is played in."""

from __future__ import annotations

import json
from collections.abc import Sequence

from agentd.testing.torture.harness import World
from agentd.testing.torture.runner import Order, ScenarioReport, size_of, summary
from agentd.testing.torture.scenario import Scenario, Size


async def quiet(world: World, size: Size) -> None:
    """Nothing goes wrong.

    A second paragraph.
    """


QUIET = Scenario("quiet", quiet, full=Size(1000, 5), short=Size(10, 1))


def report(*broken: str) -> ScenarioReport:
    return ScenarioReport(
        name="quiet",
        goal="Nothing goes wrong.",
        seed=7,
        seconds=1.25,
        figures={"tasks": 1000, "extra_calls": 2, "logs": "/tmp/x"},
        broken=broken,
    )


def order(*, tasks: int | None = None, short: bool = False) -> Order:
    return Order(scenarios=[QUIET], seed=7, tasks=tasks, short=short)


def test_the_goal_of_a_scenario_is_the_first_line_of_its_docstring() -> None:
    assert QUIET.goal == "Nothing goes wrong."


def test_a_scenario_that_passed_is_one_line_with_its_figures() -> None:
    assert report().as_line() == "quiet        PASS  1,000 tasks · 2 extra calls · /tmp/x · 1.2 s"


def test_a_scenario_that_failed_lists_the_broken_promises() -> None:
    line, *sentences = report("1 tasks were lost: a").as_line().splitlines()

    assert line.startswith("quiet        FAIL  ")
    assert sentences == ["             1 tasks were lost: a"]


def test_a_long_list_of_broken_promises_is_cut() -> None:
    lines = report(*(f"broken {number}" for number in range(20))).as_line().splitlines()

    assert len(lines) == 1 + 12 + 1
    assert lines[-1].strip() == "… and 8 more"


def test_the_size_is_full_short_or_as_asked() -> None:
    assert size_of(QUIET, order()) == Size(1000, 5)
    assert size_of(QUIET, order(short=True)) == Size(10, 1)
    assert size_of(QUIET, order(tasks=3)) == Size(3, 5)
    assert size_of(QUIET, order(tasks=3, short=True)) == Size(3, 1)


def test_the_summary_passes_only_if_every_scenario_does() -> None:
    def passed(reports: Sequence[ScenarioReport]) -> bool:
        return json.loads(summary(order(), reports))["passed"]

    assert passed([report(), report()])
    assert not passed([report(), report("lost")])
    [shown] = json.loads(summary(order(), [report("lost")]))["scenarios"]
    assert (shown["name"], shown["passed"], shown["broken"]) == ("quiet", False, ["lost"])
