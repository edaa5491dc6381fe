"""Warnings about tasks that no agent takes, unknown names, and agents that nothing reaches."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.catalog.catalog import Catalog

Folder = Callable[..., Catalog]
Warnings = Callable[[Catalog], list[str]]
Texts = Callable[[Catalog], list[str]]


def test_a_task_that_no_agent_takes_is_a_warning_with_the_nearest_capability(
    folder: Folder, warnings: Warnings
) -> None:
    catalog = folder(a="emit: [{task: checking.claims}]", b="capabilities: [checkin]")

    assert warnings(catalog) == [
        "a:1:15 no agent here takes tasks of `checking`; did you mean `checkin`?"
    ]
    assert {each.severity for each in catalog.problems} == {"warning"}
    assert catalog.agents.keys() == {"a", "b"}


def test_the_name_of_an_agent_is_not_a_capability(folder: Folder, warnings: Warnings) -> None:
    catalog = folder(a="emit: [{task: reviewer.draft}]", reviewer="capabilities: [review]")

    assert warnings(catalog) == [
        "a:1:15 no agent here takes tasks of `reviewer`; it is an agent: give it this capability, "
        "or set `target: reviewer`"
    ]


def test_an_agent_does_not_take_a_task_that_it_has_emitted(folder: Folder, texts: Texts) -> None:
    catalog = folder(a="emit: [{task: a.more, when: output}]", b="")

    assert texts(catalog) == [
        "only a itself could take this task, "
        "and an agent cannot take a task that it has just emitted"
    ]


@pytest.mark.parametrize(
    ("rule", "problems"),
    [
        ("{task: b.x, capabilities: [deep]}", []),
        ("{task: b.x, capabilities: [dep]}", ["a:1:35 no agent here has the capability `dep`"]),
        ("{task: b.x, capabilities: [c]}", ["a:1:15 no agent here has all of `b` and `c`"]),
        (
            "{task: b.x, exclusions: [b]}",
            ["a:1:15 every agent that could take this task is excluded: b"],
        ),
        (
            "{task: b.x, exclusions: [bb]}",
            ["a:1:33 no agent here is called `bb`, so this exclusion has no effect"],
        ),
        ("{task: b.x, target: cc}", ["a:1:28 no agent here is called `cc`"]),
        ("{task: zzz.x, target: c}", []),
        (
            "{task: b.x, target: c, capabilities: [deep]}",
            ["a:1:46 `c` lacks the capability `deep`"],
        ),
        ("{event: nobody.listens}", []),
    ],
)
def test_a_rule_should_name_known_agents_and_capabilities(
    folder: Folder, warnings: Warnings, rule: str, problems: list[str]
) -> None:
    catalog = folder(a=f"emit: [{rule}]", b="capabilities: [b, deep]", c="")

    assert [each.partition(";")[0] for each in warnings(catalog)] == problems


def test_the_hint_for_a_target_that_is_a_capability_says_so(
    folder: Folder, warnings: Warnings
) -> None:
    catalog = folder(a="emit: [{task: b.x, target: deep}]", b="capabilities: [b, deep]")

    assert warnings(catalog) == ["a:1:28 no agent here is called `deep`; it is a capability of b"]


@pytest.mark.parametrize(
    ("pattern", "problems"),
    [
        ("task.b.*", []),
        ("task.*.*", []),
        ("task.*.urgent", []),
        ("event.any.thing", []),
        ("task.bb.*", ["a:1:16 no agent here takes tasks of `bb`"]),
        (
            "task.a.*",
            [
                "a:1:16 only a itself could take this task, and an agent cannot take a "
                "task that it has just emitted"
            ],
        ),
    ],
)
def test_a_task_that_the_model_may_emit_needs_a_taker(
    folder: Folder, warnings: Warnings, pattern: str, problems: list[str]
) -> None:
    catalog = folder(a=f"emit: {{allow: ['{pattern}']}}", b="")

    assert [each.partition(";")[0] for each in warnings(catalog)] == problems


def test_a_model_cannot_emit_tasks_if_no_agent_takes_any(folder: Folder, texts: Texts) -> None:
    catalog = folder(
        a="capabilities: []\nsubscribe: event.x.y\nemit: {allow: ['task.*.*']}",
        b="capabilities: []\nsubscribe: event.x.y",
    )

    assert texts(catalog) == ["no agent here takes tasks"]


def test_an_agent_tool_needs_an_agent_that_answers(folder: Folder, warnings: Warnings) -> None:
    catalog = folder(
        a="""
        tools:
          - {agent: b}
          - {agent: deep}
          - {agent: nobody}
          - {agent: deep, gather: all, name: vote}
          - {agent: c, gather: all, name: poll}
        """,
        b="capabilities: [deep]",
        c="capabilities: [other]",
    )

    assert warnings(catalog) == [
        "a:4:13 no other agent here has the name or the capability `nobody`; add such an agent",
        "a:6:13 `c` is an agent, but not a capability of another agent here; `gather` asks "
        "every agent that has a capability",
    ]


def test_an_agent_that_nothing_reaches_is_a_warning(folder: Folder, warnings: Warnings) -> None:
    catalog = folder(a="capabilities: []", b="")

    assert warnings(catalog) == [
        "a:1:1 `capabilities` is empty, and nothing here sends a task or fact to this agent; "
        "give it a capability or `subscribe`; now only `agentd ask @a` reaches it"
    ]


@pytest.mark.parametrize(
    "reached",
    [
        {"a": "capabilities: []\nsubscribe: event.x.y"},
        {"a": "capabilities: []\nschedule: {every: 1h, task: Go.}"},
        {"a": "capabilities: []", "b": "emit: [{task: b.x, target: a}]"},
        {"a": "capabilities: []", "b": "tools: [{agent: a}]"},
    ],
)
def test_an_agent_can_be_reached_in_many_ways(
    folder: Folder, texts: Texts, reached: dict[str, str]
) -> None:
    assert texts(folder(**reached)) == []


def test_only_some_of_many_agents_are_listed(folder: Folder, warnings: Warnings) -> None:
    others = {f"agent{number}": "" for number in range(10)}

    [warning] = warnings(folder(a="emit: [{task: agent0.x, target: zzz}]", **others))

    assert warning == (
        "a:1:33 no agent here is called `zzz`; the agents here are a, agent0, agent1, agent2, "
        "agent3, agent4, agent5, agent6 …"
    )


def test_other_agents_are_excluded_if_the_emitter_has_the_capability_too(
    folder: Folder, texts: Texts
) -> None:
    catalog = folder(a="emit: [{task: a.x, exclusions: [b]}]", b="capabilities: [a]")

    assert texts(catalog) == ["every agent that could take this task is excluded: b"]


@pytest.mark.parametrize(
    ("trigger", "warning"),
    [
        ("task: checking.x", "no agent here takes tasks of `checking`; did you mean `checkin`?"),
        ("task: '@xyz'", "no agent here is called `xyz`; the agents here are a, b"),
        ("task: '@b'", None),
        ("task: checkin", None),
        ("priority: 5", None),
        (
            "callback: 'https://example.org', until: event.answer.ready",
            "no agent here publishes `event.answer.ready`, so nothing ends the work; "
            "let an agent emit it, or name another fact",
        ),
        ("callback: 'https://example.org', until: result.checkin.*", None),
    ],
)
def test_what_a_trigger_starts_should_be_taken_and_end(
    folder: Folder, warnings: Warnings, trigger: str, warning: str | None
) -> None:
    catalog = folder(a=f"triggers: [{{nats: x.y, {trigger}}}]", b="capabilities: [checkin]")

    assert [each.partition(" ")[2] for each in warnings(catalog)] == ([warning] if warning else [])


def test_a_trigger_reaches_an_agent_without_capabilities(
    folder: Folder, warnings: Warnings
) -> None:
    catalog = folder(
        a="capabilities: []\ntriggers: [{nats: x.y}]",
        b="triggers: [{nats: x.z, task: '@c'}]",
        c="capabilities: []",
    )

    assert warnings(catalog) == []
