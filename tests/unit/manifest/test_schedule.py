"""The forms of `schedule`, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.manifest.agent import Manifest

Read = Callable[..., Manifest]
ProblemOf = Callable[[str], str]


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        ("{task: x}", "`schedule` needs either `every` or `cron`; "),
        ("{task: x, every: 1h, cron: '@daily'}", "`schedule` needs either `every` or `cron`; "),
        ("{every: 999ms, task: x}", "`schedule.every` must be at least 1s; "),
        (
            "{every: 1h, time_zone: Europe/Berlin, task: x}",
            "`schedule` has a `time_zone` without `cron`; remove it: `every` has no time zone",
        ),
        (
            "{cron: '@daily', time_zone: Europe/Berlim, task: x}",
            "`schedule.time_zone` is not a known time zone: `Europe/Berlim`; "
            "did you mean `Europe/Berlin`?",
        ),
        (
            "{cron: '@daily', time_zone: '?', task: x}",
            "`schedule.time_zone` is not a known time zone: `?`; for example Europe/Berlin",
        ),
        ("{every: 1h}", "`schedule.task` is missing; "),
    ],
)
def test_an_invalid_schedule_is_a_problem(
    problem_of: ProblemOf, schedule: str, problem: str
) -> None:
    assert problem_of(f"schedule: {schedule}").partition(" ")[2] == problem


def test_a_cron_expression_gets_its_sixth_field(manifest: Read) -> None:
    schedule = manifest("capabilities: a\nschedule: {cron: 0 7 * * 1-5, task: x}").schedule

    assert schedule
    assert (schedule.cron, schedule.time_zone) == ("0 0 7 * * 1-5", "UTC")


def test_the_shortest_interval_is_a_second(manifest: Read) -> None:
    schedule = manifest("capabilities: a\nschedule: {every: 1s, task: {any: [json]}}").schedule

    assert schedule
    assert (schedule.every, schedule.task) == (1.0, {"any": ["json"]})
