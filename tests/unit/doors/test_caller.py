"""What a caller may."""

from __future__ import annotations

import pytest

from agentd.doors.caller import LOCAL, RIGHTS, Caller, Right
from agentd.doors.refusal import Refusal


def test_a_local_caller_may_everything() -> None:
    rights: tuple[Right, ...] = ("ask", "read", "approve", "operate")
    for right in rights:
        LOCAL.require(right, agent="any")
    assert set(rights) == RIGHTS


def test_a_right_that_is_missing_is_named() -> None:
    caller = Caller(name="ci", may=frozenset({"ask", "read"}))
    caller.require("ask", agent="any")
    with pytest.raises(Refusal, match="'ci' may not approve: its key allows ask, read") as refused:
        caller.require("approve")
    assert (refused.value.status, refused.value.code) == (403, "forbidden")


def test_a_key_of_some_agents_is_for_no_others() -> None:
    caller = Caller(name="ci", may=frozenset({"ask"}), agents=frozenset({"a", "b"}))
    caller.require("ask")
    caller.require("ask", agent="a")
    with pytest.raises(Refusal, match="may not use agent 'c': its key is for a, b"):
        caller.require("ask", agent="c")
    assert caller.reaches("b")
    assert not caller.reaches("c")


@pytest.mark.parametrize("right", ["approve", "operate"])
def test_a_page_of_another_origin_decides_nothing(right: Right) -> None:
    caller = Caller(name="ci", may=RIGHTS, foreign=True)
    caller.require("ask")
    caller.require("read")
    with pytest.raises(Refusal, match=f"a page of another origin may not {right}") as refused:
        caller.require(right)
    assert (refused.value.status, refused.value.code) == (403, "foreign_origin")
