"""The parts of a topology: what two patterns both match, and what a manifest may emit."""

from __future__ import annotations

import pytest

from agentd.catalog.topology.members import (
    AgentRun,
    Member,
    emissions_of,
    intersection,
    subscriptions_of,
)
from agentd.manifest.agent import Manifest
from agentd.manifest.yaml.nodes import Map, Span, YamlSource


def member(**fields: object) -> Member:
    manifest = Manifest.model_validate({"name": "a", "capabilities": ["a"], **fields})
    return Member(manifest, Map(Span(YamlSource("a.yaml", ("name: a",)), 1, 1), {}))


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("result.a.b", "result.a.b", "result.a.b"),
        ("result.a.*", "result.a.b", "result.a.b"),
        ("result.a.*", "result.*.b", "result.a.b"),
        ("result.*.*", "result.a.*", "result.a.*"),
        ("result.a.b", "result.a.c", ""),
        ("result.a.*", "result.b.*", ""),
        ("result.a.b", "event.a.b", ""),
        # The events of agentd itself match only a pattern that names their domain.
        ("event.*.*", "event.status.offline", ""),
        ("event.*.offline", "event.status.*", ""),
        ("event.status.*", "event.status.offline", "event.status.offline"),
        ("result.*.*", "result.status.x", "result.status.x"),
    ],
)
def test_the_intersection_of_two_patterns(one: str, other: str, both: str) -> None:
    assert intersection(one, other) == intersection(other, one) == both


def test_rules_and_allowed_patterns_are_emissions() -> None:
    rules = [
        {"task": "b.x", "priority": 7},
        {"event": "c.y", "when": "output"},
        {"task": "b.z", "for_each": "output"},
    ]
    emit = {"rules": rules, "allow": ["task.*.*"]}

    always, conditional, fan_out, allowed = emissions_of("a", member(emit=emit))

    assert (always.subject, always.topic, always.is_task) == ("task.b.x", ("b", "x"), True)
    assert (conditional.subject, conditional.is_task) == ("event.c.y", False)
    assert allowed.rule is None
    assert allowed.loc == ("emit", "allow", 0)
    each = (always, conditional, fan_out, allowed)
    assert [one.always for one in each] == [True, False, False, False]
    assert [one.any_number for one in each] == [False, False, True, True]


def test_a_rule_that_chooses_has_an_emission_for_each_choice() -> None:
    rules = [
        {"task": ["b.x", "c.x"], "choose": "output"},
        {"task": "d.x", "target": ["e", "f"], "choose": "output"},
    ]

    found = list(emissions_of("a", member(emit=rules)))

    assert [(each.subject, each.target) for each in found] == [
        ("task.b.x", None),
        ("task.c.x", None),
        ("task.d.x", "e"),
        ("task.d.x", "f"),
    ]
    assert found[1].loc == ("emit", "rules", 0, "task", 1)
    assert not any(each.always for each in found)
    assert found[2].recipients.include("e", [])


def test_the_recipients_of_a_rule_are_those_of_its_message() -> None:
    rule = {"task": "b.x", "capabilities": ["c"], "exclusions": ["d"]}
    [emission] = emissions_of("a", member(emit=[rule]))

    recipients = emission.recipients

    assert recipients.include("e", ["b", "c"])
    assert not recipients.include("e", ["b"])
    assert not recipients.include("d", ["b", "c"])
    assert not recipients.include("a", ["b", "c"])


def test_the_patterns_of_subscribe_and_join_are_subscriptions() -> None:
    fields = {"subscribe": "event.x.y", "join": {"wait_for": ["result.b.*", "result.c.*"]}}

    found = list(subscriptions_of("a", member(**fields)))

    assert [(each.pattern, each.joins) for each in found] == [
        ("event.x.y", False),
        ("result.b.*", True),
        ("result.c.*", True),
    ]
    assert found[2].loc == ("join", "wait_for", 1)


def test_a_run_has_a_result() -> None:
    assert AgentRun("a", "b", "*").fact == "result.b.*"


def test_a_warning_is_at_its_field() -> None:
    problem = member().warning("emit", text="no", hint="yes")

    assert (problem.place, problem.severity) == ("a.yaml:1:1", "warning")
    assert (problem.text, problem.hint) == ("no", "yes")
