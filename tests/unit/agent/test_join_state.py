"""The arithmetic of joins: what is enough, what is late, in which order."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.agent.join_state import Fact, Gathering, SiblingPlace, branch_of, common, key_of, whole
from agentd.manifest.flow import Join
from agentd.protocol.fields import AgentIdentity, Context, Sibling
from agentd.protocol.message import AgentMessage, new

EACH = Join(wait_for=("result.a.*", "event.b.x"))
ALL = Join(wait_for=("result.a.*",), count="all")


def gathered(join: Join, *facts: Fact) -> Gathering:
    gathering = Gathering()
    for fact in facts:
        gathering = gathering.add(fact, join, 100.0)
    return gathering


def test_one_of_each() -> None:
    a, b = Fact(1, "result.a.x"), Fact(2, "event.b.x")
    assert gathered(EACH, a).missing(EACH) == ("event.b.x",)
    assert gathered(EACH, a, b).closed == "complete"
    assert gathered(EACH, b, a).in_order(EACH) == (a, b)


def test_a_closed_one_takes_no_more_and_a_known_fact_is_none() -> None:
    a, b, late = Fact(1, "result.a.x"), Fact(2, "event.b.x"), Fact(3, "result.a.y")
    closed = gathered(EACH, a, b)
    assert closed.add(late, EACH, 1.0) is closed
    open_one = gathered(EACH, a)
    assert open_one.add(a, EACH, 1.0) is open_one


def test_so_many_of_any_kind() -> None:
    join = Join(wait_for=("result.a.*", "event.b.x"), count=2)
    one = gathered(join, Fact(1, "result.a.x"))
    assert (one.closed, one.missing(join)) == ("", ("result.a.*", "event.b.x"))
    two = gathered(join, Fact(1, "result.a.x"), Fact(2, "result.a.y"))
    assert (two.closed, two.missing(join)) == ("complete", ())


def test_a_join_began_when_its_first_fact_came() -> None:
    gathering = Gathering().add(Fact(1, "result.a.x"), EACH, 100.0)
    assert gathering.started == 100.0
    assert gathering.add(Fact(2, "result.a.y"), EACH, 200.0).started == 100.0


def test_a_join_of_all_siblings_waits_for_each_of_them() -> None:
    first, second = (Fact(n, "result.a.x", (place("t", n, 2),)) for n in (0, 1))
    assert gathered(ALL, first).missing(ALL) == ("result.a.*",)
    assert gathered(ALL, first, second).closed == "complete"
    # Without `count: all`, one of them is enough.
    any_one = Join(wait_for=("result.a.*",))
    assert gathered(any_one, first).closed == "complete"


def test_facts_are_ordered_by_pattern_then_by_sibling_then_by_arrival() -> None:
    join = Join(wait_for=("result.a.*", "event.b.x"), count=9)
    event, late = Fact(1, "event.b.x"), Fact(5, "result.a.x")
    second = Fact(2, "result.a.x", (place("t", 1, 2),))
    first = Fact(3, "result.a.y", (place("t", 0, 2),))
    stranger = Fact(0, "result.z.z")  # of a pattern that an edit has removed
    gathering = Gathering(facts=(stranger, event, second, first, late))
    assert gathering.in_order(join) == (late, first, second, event, stranger)


def test_the_time_is_up_only_for_one_that_waits() -> None:
    assert Gathering().give_up() == Gathering()
    assert gathered(EACH, Fact(1, "result.a.x")).give_up().closed == "timeout"
    closed = gathered(EACH, Fact(1, "result.a.x"), Fact(2, "event.b.x"))
    assert closed.give_up().closed == "complete"


def test_too_many_end_it() -> None:
    facts = [Fact(n, "event.b.x") for n in range(1, 1_001)]
    gathering = Gathering(facts=tuple(facts[:-1]), started=1.0)
    assert gathering.add(facts[-1], EACH, 1.0).closed == "too_many"


def place(group: str, index: int, count: int) -> SiblingPlace:
    return SiblingPlace(group, 0, index, count)


# A fan-out is a list of what each of its messages led to: fan-outs again, or nothing more.
trees = st.recursive(st.none(), lambda below: st.lists(below, min_size=1, max_size=4), max_leaves=9)


def branches_of(tree: list[object] | None, name: str = "t") -> list[tuple[SiblingPlace, ...]]:
    if tree is None:
        return [()]
    return [
        (place(name, index, len(tree)), *rest)
        for index, below in enumerate(tree)
        for rest in branches_of(below, f"{name}{index}")  # pyright: ignore[reportArgumentType]
    ]


@given(trees, st.data())
def test_a_tree_is_whole_with_its_last_leaf_and_not_before(
    tree: list[object] | None, data: st.DataObject
) -> None:
    branches = data.draw(st.permutations(branches_of(tree)))
    for number in range(len(branches)):
        assert not whole(branches[:number])
    assert whole(branches)
    assert whole([*branches, branches[0]])


@given(st.lists(st.tuples(st.integers(1), st.integers(0, 3)), max_size=20))
def test_what_is_stored_is_read_again(facts: list[tuple[int, int]]) -> None:
    gathering = Gathering()
    for sequence, index in facts:
        fact = Fact(sequence, "result.a.x", (place("t", index, 4),))
        gathering = gathering.add(fact, ALL, 12.5)
    assert Gathering.parse(gathering.dump()) == gathering
    assert Gathering.parse(b"") == Gathering()
    done = replace(gathering, closed="timeout", done=True)
    assert Gathering.parse(done.dump()) == done
    ordered = gathering.in_order(ALL)
    assert all(one.branch <= two.branch for one, two in pairwise(ordered))


def test_a_join_is_stored_without_spaces() -> None:
    """A large join is stored with each of its facts."""
    gathering = Gathering((Fact(7, "result.a.x", (place("t", 0, 2),)),), 1.5)
    assert gathering.dump() == (
        b'{"facts":[[7,"result.a.x",[["t",0,0,2]]]],"started":1.5,"closed":"","done":false}'
    )


def message(**context: object) -> AgentMessage:
    told = Context.model_validate({"conversation_id": "c", **context})
    return new("result", "x", source=AgentIdentity(id="a"), context=told, correlation_id="r")


@pytest.mark.parametrize(
    ("by", "context", "key"),
    [
        ("conversation", {}, "c"),
        ("correlation", {}, "r"),
        ("parent", {"task_parent_id": "p", "parent_message_id": "task"}, "p"),
        ("parent", {"parent_message_id": "p"}, "p"),
    ],
)
def test_what_facts_have_in_common(by: str, context: dict[str, str], key: str) -> None:
    join = Join.model_validate({"wait_for": ["result.a.*"], "by": by})
    assert key_of(message(**context), join) == key


def test_by_parent_the_fan_outs_around_it_do_not_count() -> None:
    siblings = (Sibling(of="outer", index=1, count=2), Sibling(of="inner", index=0, count=3))
    fact = message(siblings=siblings)
    by_parent = Join(wait_for=("result.a.*",), by="parent", count="all")
    assert branch_of(fact, by_parent, "inner") == (place("inner", 0, 3),)
    assert branch_of(fact, by_parent, "other") == ()
    assert len(branch_of(fact, ALL, "r")) == 2


def test_what_all_branches_share() -> None:
    one = (place("t", 0, 2), place("u", 0, 2))
    two = (place("t", 0, 2), place("u", 1, 2))
    assert common([one, two]) == 1
    assert common([one]) == 2
    assert common([one, ()]) == 0
