"""What is still to come of the fan-outs that facts came through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.agent.fan_out import (
    Expectation,
    Fact,
    FanOuts,
    Leads,
    SiblingPlace,
    common,
    directly,
    fan_outs_of,
    places_of,
)
from agentd.protocol.fields import AgentIdentity, Context, Sibling
from agentd.protocol.message import AgentMessage, new

ROUTED = {"root": {"task.billing.issue": 2, "task.technical.issue": 1, "task.refund.issue": 0}}


def result(number: int, topic: str, *branch: SiblingPlace, task: str = "") -> Fact:
    return Fact(number, f"result.{topic}", branch, task)


def routed(index: int, domain: str, *more: SiblingPlace) -> tuple[SiblingPlace, ...]:
    return (SiblingPlace("root", index, f"task.{domain}.issue"), *more)


BILLING = [result(n, "billing.issue", *routed(n, "billing")) for n in (0, 1)]
TECHNICAL = result(2, "technical.issue", *routed(2, "technical"))


def met(
    pattern: str,
    facts: Sequence[Fact],
    *,
    fan_outs: FanOuts = ROUTED,
    leads: Leads = directly,
) -> bool:
    return Expectation(pattern, fan_outs, leads).met_by(facts)


def test_all_that_one_answer_emitted_is_awaited_over_all_rules() -> None:
    assert not met("result.*.issue", BILLING)
    assert not met("result.*.issue", [*BILLING[:1], TECHNICAL])
    assert met("result.*.issue", [TECHNICAL, *BILLING])


def test_each_pattern_waits_for_the_topics_that_lead_to_it() -> None:
    assert met("result.billing.*", BILLING)
    assert not met("result.technical.*", BILLING)


def test_a_topic_that_did_not_occur_is_not_awaited() -> None:
    assert met("result.refund.*", BILLING)


def test_another_pattern_needs_one_fact() -> None:
    assert not met("event.case.closed", BILLING)
    assert met("event.case.closed", [*BILLING, Fact(9, "event.case.closed")])
    assert not met("result.billing.*", [])


def test_what_leads_there_only_through_other_agents_is_awaited() -> None:
    def leads(topic: str, pattern: str) -> bool:
        return topic in ("task.billing.issue", "task.technical.issue")

    fan_outs = {**ROUTED, **{f"t{n}": {"task.check.issue": 1} for n in range(3)}}
    checks = [
        result(n, "check.issue", *routed(n, domain, SiblingPlace(f"t{n}", 0, "task.check.issue")))
        for n, domain in enumerate(("billing", "billing", "technical"))
    ]
    assert not met("result.check.*", checks[:2], fan_outs=fan_outs, leads=leads)
    assert met("result.check.*", checks, fan_outs=fan_outs, leads=leads)


def test_where_unknown_agents_lead_there_every_task_may() -> None:
    """A join may run in another process than the agents before it, with other manifests."""
    first, second = (result(n, "check.issue", *routed(n, "billing")) for n in (0, 1))
    third = result(2, "check.issue", *routed(2, "technical"))
    assert not met("result.check.*", [first, second])
    assert met("result.check.*", [first, second, third])


def test_tasks_that_lead_elsewhere_are_not_awaited() -> None:
    fan_outs = {"root": {"task.billing.issue": 2, "task.audit.entry": 1, "event.case.sorted": 1}}
    assert met("result.*.issue", BILLING, fan_outs=fan_outs)


def test_a_result_says_whether_more_follows() -> None:
    """The billing agent may pass an issue on, and says in its result whether it did."""
    passed_on = SiblingPlace("b", 0, "task.technical.issue")
    one = {"root": {"task.billing.issue": 1}}
    billed = result(0, "billing.issue", *routed(0, "billing"), task="b")
    teched = result(1, "technical.issue", *routed(0, "billing", passed_on), task="c")
    more, none = {**one, "b": {passed_on.topic: 1}}, {**one, "b": {passed_on.topic: 0}}
    assert met("result.*.issue", [billed], fan_outs=none)
    assert met("result.technical.*", [billed], fan_outs=none, leads=lambda *_: True)
    assert not met("result.*.issue", [billed], fan_outs=more)
    assert met("result.*.issue", [billed, teched], fan_outs=more)
    assert not met("result.*.issue", [teched], fan_outs=more), "its own result is missing"


def test_siblings_that_are_only_counted() -> None:
    """Another program may emit messages, too, and count them without their topics."""
    siblings = [Sibling(of="t", index=n, count=2) for n in (0, 1)]
    messages = [message(siblings=(each,)) for each in siblings]
    facts = [Fact(n, "result.a.x", places_of(each)) for n, each in enumerate(messages)]
    fan_outs = fan_outs_of(messages[0])
    assert not met("result.a.*", facts[:1], fan_outs=fan_outs)
    assert met("result.a.*", facts, fan_outs=fan_outs)


def test_the_fan_outs_of_a_result() -> None:
    place = Sibling(of="t", index=0, count=1, topic="task.a.x", topics={"task.a.x": 1})
    fact = message(siblings=(place,), parent_message_id="u", emitted={"task.b.x": 0})
    assert fan_outs_of(fact) == {"t": {"task.a.x": 1}, "u": {"task.b.x": 0}}
    assert places_of(fact) == (SiblingPlace("t", 0, "task.a.x"),)


def message(**context: object) -> AgentMessage:
    given_ = Context.model_validate({"conversation_id": "c", **context})
    return new("result", "x", source=AgentIdentity(id="a"), context=given_, correlation_id="r")


@pytest.mark.parametrize(
    ("topic", "pattern", "is_direct"),
    [
        ("task.a.x", "result.a.*", True),
        ("task.a.*", "result.a.x", True),
        ("task.a.x", "event.a.x", False),
        ("event.a.x", "event.*.x", True),
        ("event.a.x", "result.a.x", False),
        ("", "result.a.x", False),
    ],
)
def test_what_a_message_is_itself(topic: str, pattern: str, is_direct: bool) -> None:
    assert directly(topic, pattern) == is_direct


def test_what_all_branches_share() -> None:
    one = (SiblingPlace("t", 0), SiblingPlace("u", 0))
    two = (SiblingPlace("t", 0), SiblingPlace("u", 1))
    assert common([one, two]) == 1
    assert common([one]) == 2
    assert common([one, ()]) == 0


@dataclass(frozen=True)
class Task:
    """A task of a tree: its topic, and the tasks that its answer emits."""

    topic: str
    emits: tuple[Task, ...] = ()


TOPICS = ("task.a.x", "task.b.x")
trees = st.recursive(
    st.builds(Task, st.sampled_from(TOPICS)),
    lambda below: st.builds(
        Task, st.sampled_from(TOPICS), st.lists(below, min_size=1, max_size=3).map(tuple)
    ),
    max_leaves=6,
)


def facts_of(
    task: Task, name: str = "root", branch: tuple[SiblingPlace, ...] = ()
) -> list[tuple[Fact, FanOuts]]:
    """The result of each task of a tree, those that follow behind it, and what each emitted."""
    emitted = {**dict.fromkeys(TOPICS, 0), **Counter(each.topic for each in task.emits)}
    fact = Fact(hash(name), task.topic.replace("task", "result"), branch, name)
    found: list[tuple[Fact, FanOuts]] = [(fact, {name: emitted})]
    for index, each in enumerate(task.emits):
        place = SiblingPlace(name, index, each.topic)
        found += facts_of(each, f"{name}.{index}", (*branch, place))
    return found


@given(trees, st.randoms())
def test_a_tree_whose_results_are_all_seen_is_whole_with_the_last_one(
    tree: Task, random: Random
) -> None:
    """In the order of the log: a result comes before those that follow from it."""
    facts = facts_of(tree)
    order = sorted(facts, key=lambda each: (len(each[0].branch), random.random()))
    seen: dict[str, dict[str, int]] = {}
    for number, (_, fan_out) in enumerate(order, start=1):
        seen |= {of: dict(counts) for of, counts in fan_out.items()}
        there = [fact for fact, _ in order[:number]]
        assert met("result.*.x", there, fan_outs=seen) == (number == len(order))


@given(trees, st.data())
def test_a_tree_is_whole_with_its_last_leaf_and_not_before(tree: Task, data: st.DataObject) -> None:
    """Only the leaves are joined: they arrive in any order, and what leads to them is known."""
    everything = facts_of(tree)
    fan_outs = {of: counts for _, each in everything for of, counts in each.items()}
    parents = {place.of for fact, _ in everything for place in fact.branch}
    ends = [
        Fact(fact.sequence, "event.leaf.x", fact.branch)
        for fact, _ in everything
        if fact.task not in parents
    ]
    leaves = data.draw(st.permutations(ends))

    for number in range(len(leaves)):
        assert not met("event.leaf.x", leaves[:number], fan_outs=fan_outs, leads=lambda *_: True)
    assert met("event.leaf.x", leaves, fan_outs=fan_outs, leads=lambda *_: True)
