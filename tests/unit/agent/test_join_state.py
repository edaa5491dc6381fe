"""The arithmetic of joins: what is enough, what is late, in which order."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.agent.fan_out import Fact, SiblingPlace, directly
from agentd.agent.join_state import Gathering, branch_of, key_of
from agentd.manifest.flow import Join
from agentd.protocol.fields import AgentIdentity, Context, Sibling
from agentd.protocol.message import AgentMessage, new

EACH = Join(wait_for=("result.a.*", "event.b.x"))
ALL = Join(wait_for=("result.a.*",), count="all")


TWO = {"t": {"task.a.x": 2}}


def added(gathering: Gathering, join: Join, fact: Fact, at: float = 100.0) -> Gathering:
    return gathering.add(fact, TWO, join=join, leads=directly, at=at)


def gathered(join: Join, *facts: Fact) -> Gathering:
    gathering = Gathering()
    for fact in facts:
        gathering = added(gathering, join, fact)
    return gathering


def test_one_of_each() -> None:
    a, b = Fact(1, "result.a.x"), Fact(2, "event.b.x")
    assert gathered(EACH, a).missing == ("event.b.x",)
    assert gathered(EACH, a, b).closed == "complete"
    assert gathered(EACH, b, a).in_order(EACH) == (a, b)


def test_a_closed_one_takes_no_more_and_a_known_fact_is_none() -> None:
    a, b, late = Fact(1, "result.a.x"), Fact(2, "event.b.x"), Fact(3, "result.a.y")
    closed = gathered(EACH, a, b)
    assert added(closed, EACH, late) is closed
    open_one = gathered(EACH, a)
    assert added(open_one, EACH, a) is open_one


def test_so_many_of_any_kind() -> None:
    join = Join(wait_for=("result.a.*", "event.b.x"), count=2)
    one = gathered(join, Fact(1, "result.a.x"))
    assert (one.closed, one.missing) == ("", ("result.a.*", "event.b.x"))
    two = gathered(join, Fact(1, "result.a.x"), Fact(2, "result.a.y"))
    assert (two.closed, two.missing) == ("complete", ())


def test_a_join_began_when_its_first_fact_came() -> None:
    gathering = gathered(EACH, Fact(1, "result.a.x"))
    assert gathering.started == 100.0
    assert added(gathering, EACH, Fact(2, "result.a.y"), at=200.0).started == 100.0


def test_a_join_of_all_siblings_waits_for_each_of_them() -> None:
    first, second = (Fact(n, "result.a.x", (place("t", n),)) for n in (0, 1))
    assert gathered(ALL, first).missing == ("result.a.*",)
    assert gathered(ALL, first, second).closed == "complete"
    # Without `count: all`, one of them is enough.
    any_one = Join(wait_for=("result.a.*",))
    assert gathered(any_one, first).closed == "complete"


def test_facts_are_ordered_by_pattern_then_by_sibling_then_by_arrival() -> None:
    join = Join(wait_for=("result.a.*", "event.b.x"), count=9)
    event, late = Fact(1, "event.b.x"), Fact(5, "result.a.x")
    second = Fact(2, "result.a.x", (place("t", 1),))
    first = Fact(3, "result.a.y", (place("t", 0),))
    stranger = Fact(0, "result.z.z")  # of a pattern that an edit has removed
    gathering = Gathering(facts=(stranger, event, second, first, late))
    assert gathering.in_order(join) == (late, first, second, event, stranger)


def test_the_time_is_up_only_for_one_that_waits() -> None:
    assert Gathering().close("timeout") == Gathering()
    assert gathered(EACH, Fact(1, "result.a.x")).close("timeout").closed == "timeout"
    closed = gathered(EACH, Fact(1, "result.a.x"), Fact(2, "event.b.x"))
    assert closed.close("timeout").closed == "complete"


def test_too_many_end_it() -> None:
    facts = [Fact(n, "event.b.x") for n in range(1, 1_001)]
    gathering = Gathering(facts=tuple(facts[:-1]), started=1.0)
    assert added(gathering, EACH, facts[-1]).closed == "too_many"


def place(of: str, index: int) -> SiblingPlace:
    return SiblingPlace(of, index, "task.a.x")


@given(st.lists(st.tuples(st.integers(1), st.integers(0, 3)), max_size=20))
def test_what_is_stored_is_read_again(facts: list[tuple[int, int]]) -> None:
    gathering = Gathering()
    for sequence, index in facts:
        fact = Fact(sequence, "result.a.x", (place("t", index),), task="u")
        gathering = added(gathering, ALL, fact, at=12.5)
    assert Gathering.parse(gathering.dump()) == gathering
    assert Gathering.parse(b"") == Gathering()
    done = replace(gathering, closed="timeout", done=True)
    assert Gathering.parse(done.dump()) == done
    ordered = gathering.in_order(ALL)
    assert all(one.branch <= two.branch for one, two in pairwise(ordered))


def test_a_join_is_stored_without_spaces() -> None:
    """A large join is stored with each of its facts."""
    gathering = gathered(ALL, Fact(7, "result.a.x", (place("t", 0),), task="u"))
    assert gathering.dump() == (
        b'{"facts":[[7,"result.a.x",[["t",0,"task.a.x"]],"u"]],"started":100.0,"closed":"",'
        b'"done":false,"missing":["result.a.*"],"fan_outs":{"t":{"task.a.x":2}}}'
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
    siblings = tuple(
        Sibling(of=of, index=index, count=3, topic="task.a.x")
        for of, index in (("outer", 1), ("inner", 0))
    )
    fact = message(siblings=siblings)
    by_parent = Join(wait_for=("result.a.*",), by="parent", count="all")
    assert branch_of(fact, by_parent, "inner") == (place("inner", 0),)
    assert branch_of(fact, by_parent, "other") == ()
    assert len(branch_of(fact, ALL, "r")) == 2
