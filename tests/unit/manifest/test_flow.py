"""What a manifest subscribes to, emits and joins: the forms and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.manifest.agent import Manifest
from agentd.manifest.flow import MOST_JOINED

Read = Callable[..., Manifest]
ProblemOf = Callable[[str], str]


@pytest.mark.parametrize(("start", "seconds"), [("new", None), ("1h", 3600.0), ("90", 90.0)])
def test_a_subscription_starts_now_or_some_time_back(
    manifest: Read, start: str, seconds: float | None
) -> None:
    subscribe = manifest(f"capabilities: a\nsubscribe: {{to: event.a.b, from: {start}}}").subscribe

    assert subscribe
    assert (subscribe.to, subscribe.since, subscribe.errors) == (("event.a.b",), seconds, False)


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        (
            "subscribe: [research]",
            "2:13 `subscribe` must be `result.` or `event.` and two more parts; "
            "for example result.research.* or event.review.requested",
        ),
        ("subscribe: []", "2:1 `subscribe` is empty; "),
        ("subscribe: [event.a.b, event.a.b]", "2:1 `subscribe` has `event.a.b` twice; remove one"),
        (
            "subscribe: {to: event.a.b, from: then}",
            "2:34 `subscribe.from` must be a duration; write 500ms, 120s, 2m or 1h",
        ),
    ],
)
def test_an_invalid_subscription_is_a_problem(
    problem_of: ProblemOf, field: str, problem: str
) -> None:
    assert problem_of(field) == problem


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("{when: x}", "2:9 `emit` needs either `task` or `event`; "),
        ("{task: a.b, event: a.b}", "2:9 `emit` needs either `task` or `event`; "),
        (
            "{task: claims}",
            "2:15 `emit.task` must be `domain.specificity`; for example factcheck.claims",
        ),
        (
            "{event: run.x}",
            "2:16 `emit.event` must not begin with run.; agentd publishes such events itself",
        ),
        (
            "{task: _agent.x}",
            "2:15 `emit.task` must not begin with _; to name an agent, use `target`",
        ),
        (
            "{event: a.b, target: c}",
            "2:29 `emit.target` cannot be combined with `event`; every subscriber gets an event",
        ),
        (
            "{event: a.b, exclusions: [c]}",
            "2:21 `emit.exclusions` cannot be combined with `event`; every subscriber gets an "
            "event",
        ),
        (
            "{task: b.x, target: b, exclusions: [b]}",
            "2:28 `emit.target` is also in `exclusions`, so no agent may take this task; "
            "remove it from `exclusions`, or name another target",
        ),
        (
            "{task: b.x, target: [c, b], choose: output, exclusions: [b]}",
            "2:32 `emit.target` is also in `exclusions`, so no agent may take this task; "
            "remove it from `exclusions`, or name another target",
        ),
        (
            "{task: [b.x, _c.x], choose: output}",
            "2:21 `emit.task` must not begin with _; to name an agent, use `target`",
        ),
        (
            "{task: [b.x, c.x]}",
            "2:9 `emit.task` is a list, but nothing says which one is meant; "
            "add `choose`, an expression that gives one of them",
        ),
        (
            "{task: b.x, choose: output}",
            "2:28 `emit.choose` needs exactly one list to choose from; "
            "give a list of topics, or of targets, with more than one",
        ),
        (
            "{task: [b.x, c.x], target: [d, e], choose: output}",
            "2:51 `emit.choose` needs exactly one list to choose from; "
            "give a list of topics, or of targets, with more than one",
        ),
        ("{task: [b.x, b.x], choose: output}", "2:9 `emit.task` has `b.x` twice; remove one"),
        ("{task: a.b, priority: 10}", "2:30 `emit.priority` must be at most 9; "),
    ],
)
def test_an_invalid_rule_is_a_problem(problem_of: ProblemOf, rule: str, problem: str) -> None:
    assert problem_of(f"emit: [{rule}]") == problem


@pytest.mark.parametrize(
    ("rule", "choice", "chosen"),
    [
        ("task: [b.x, c.x]", "b.x", ("task.b.x", None)),
        ("task: [b.x, c.x]", "c", ("task.c.x", None)),
        ("task: [b.x, b.y]", "b.y", ("task.b.y", None)),
        ("task: [b.x, b.y]", "b", None),
        ("event: [b.x, c.x]", "c", ("event.c.x", None)),
        ("task: [b.x, c.x], target: d", "c", ("task.c.x", "d")),
        ("task: b.x, target: [b, c]", "b", ("task.b.x", "b")),
        ("task: b.x, target: [d, e]", "b", None),
        ("task: [b.x, c.x]", "d", None),
        ("task: [b.x, c.x]", None, None),
        ("task: [b.x, c.x]", ["b"], None),
    ],
)
def test_a_rule_may_choose_from_a_list(
    manifest: Read, rule: str, choice: object, chosen: object
) -> None:
    [made] = manifest(f"capabilities: a\nemit: [{{{rule}, choose: output}}]").emit.rules

    assert made.chosen(choice) == chosen


def test_a_task_may_have_the_domain_of_an_event_of_agentd(manifest: Read) -> None:
    assert manifest("capabilities: a\nemit: [{task: run.x}]").emit.rules[0].task == ("run.x",)


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("event.run.x", "`emit.allow` has `event.run.x`, but `run` is reserved for agentd; "),
        (
            "task._agent.x",
            "`emit.allow` has `task._agent.x`, but `_agent` is reserved for agentd; ",
        ),
        (
            "result.a.b",
            "`emit.allow` must be `task.` or `event.` and two more parts; "
            "for example task.research.* or event.report.ready",
        ),
    ],
)
def test_a_model_may_not_emit_what_is_reserved(
    problem_of: ProblemOf, pattern: str, problem: str
) -> None:
    assert problem_of(f"emit: {{allow: [task.b.*, {pattern}]}}") == f"2:26 {problem}"


@pytest.mark.parametrize("count", [1, MOST_JOINED, "all"])
def test_a_join_counts_facts_or_waits_for_all(manifest: Read, count: int | str) -> None:
    join = manifest(f"capabilities: a\njoin: {{wait_for: event.a.b, count: {count}}}").join

    assert join
    assert (join.wait_for, join.count) == (("event.a.b",), count)


@pytest.mark.parametrize("count", ["0", "1001", "some", "true", "1.5"])
def test_another_count_is_a_problem(problem_of: ProblemOf, count: str) -> None:
    assert problem_of(f"join: {{wait_for: event.a.b, count: {count}}}") == (
        "2:36 `join.count` must be a number from 1 to 1,000, or `all`; "
    )


def test_a_join_needs_patterns(problem_of: ProblemOf) -> None:
    assert problem_of("join: {}") == "2:1 `join.wait_for` is missing; "
    assert problem_of("join: {wait_for: []}") == "2:8 `join.wait_for` is empty; "
