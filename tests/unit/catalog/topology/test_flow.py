"""A topology: who publishes, takes and subscribes, and which runs follow a run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.catalog.catalog import Catalog
from agentd.catalog.topology import flow
from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.members import AgentRun

Folder = Callable[..., Catalog]


@pytest.fixture
def team(folder: Folder) -> Topology:
    """A planner that fans out to diggers; a writer that joins their results and calls an editor."""
    catalog = folder(
        planner="emit: [{task: dig.part, for_each: output}, {event: plan.made}]",
        one="capabilities: [dig]",
        two="capabilities: [dig, deep]",
        writer="""
        join: {wait_for: ['result.dig.*'], count: all}
        tools: [{agent: editor}, {agent: deep}]
        """,
        editor="capabilities: []\nsubscribe: event.plan.*",
    )
    assert not catalog.problems
    return catalog.topology


def test_agents_are_found_by_their_capabilities(team: Topology) -> None:
    assert team.agents_by_capability["dig"] == {"one", "two"}
    assert team.agents_with(["dig", "deep"]) == {"two"}
    assert team.agents_with(["dig", "*"]) == {"one", "two"}
    assert team.agents_with(["*"]) == {"planner", "one", "two", "writer"}
    assert team.agents_with(["unknown"]) == frozenset()


def test_a_task_is_taken_by_agents_with_its_domain(team: Topology) -> None:
    task, event = team.emissions["planner"]

    assert team.takers(task) == {"one", "two"}
    assert not event.is_task


def test_a_fact_has_publishers_and_subscribers(team: Topology) -> None:
    assert team.publishers("result.dig.*") == {"one", "two"}
    assert team.publishers("event.plan.made") == {"planner"}
    assert team.publishers("event.*.*") == {"planner"}
    assert team.publishers("result.nothing.*") == frozenset()
    assert [each.agent for each in team.subscribers("result.dig.part", "one")] == ["writer"]
    assert [each.agent for each in team.subscribers("event.plan.made", "planner")] == ["editor"]
    assert list(team.subscribers("event.plan.made", "editor")) == []


def test_the_target_of_a_rule_publishes_results_of_the_topic_of_the_task(folder: Folder) -> None:
    topology = folder(a="emit: [{task: b.x, target: c}]", c="").topology

    assert topology.publishers("result.b.x") == {"c"}


def test_runs_start_by_name_and_by_capability(team: Topology) -> None:
    of_two = [run for run in team.first_runs if run.agent == "two"]

    assert of_two == [
        AgentRun("two", "_agent", "two"),
        AgentRun("two", "dig", "*"),
        AgentRun("two", "deep", "*"),
    ]


def test_a_run_is_followed_by_takers_subscribers_and_agent_tools(team: Topology) -> None:
    def following(agent: str, domain: str, specificity: str) -> list[tuple[str, str, bool, bool]]:
        steps = team.steps[AgentRun(agent, domain, specificity)]
        return [(each.run.agent, each.subject, each.always, each.any_number) for each in steps]

    assert following("planner", "planner", "*") == [
        ("one", "task.dig.part", False, True),
        ("two", "task.dig.part", False, True),
        ("editor", "event.plan.made", True, False),
    ]
    # A join by correlation runs once for a request, so it does not follow each of the facts.
    assert following("one", "dig", "part") == [("writer", "result.dig.part", False, False)]
    assert following("writer", "writer", "joined") == [
        ("editor", "@editor", False, True),
        ("two", "@two", False, True),
    ]


def test_the_run_of_a_subscriber_has_its_first_capability_or_its_name(team: Topology) -> None:
    [joined] = [each.run for each in team.steps[AgentRun("one", "dig", "part")]]
    runs = {step.run for steps in team.steps.values() for step in steps}

    assert joined == AgentRun("writer", "writer", "joined")
    assert AgentRun("editor", "_agent", "editor") in runs


def test_an_agent_tool_names_an_agent_or_a_capability(team: Topology) -> None:
    assert team.agent_tools("writer") == ["editor", "deep"]
    assert team.agents_behind("editor") == {"editor"}
    assert team.agents_behind("deep") == {"two"}
    assert team.addressed == {"editor", "deep"}


def test_the_facts_of_a_fan_out_have_siblings(team: Topology) -> None:
    assert team.sibling_publishers["result.dig.part"] == {"one", "two"}
    assert team.sibling_publishers["event.plan.made"] == {"planner"}
    assert "result.planner.*" not in team.sibling_publishers


def test_too_many_steps_are_not_followed(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "MOST_STEPS", 10)

    everyone = {f"a{i}": "subscribe: 'result.*.*'" for i in range(5)}

    assert folder(**everyone).topology.steps == {}
