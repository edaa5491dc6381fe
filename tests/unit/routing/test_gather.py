"""Votes: which answers are equal, and when more than half of the agents agree."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.routing.gather import Vote, majority


def vote(data: Any, agent: str = "a") -> Vote:
    return Vote(agent, {"success": True, "data": data, "error": None})


def failure(agent: str = "a") -> Vote:
    return Vote(agent, {"success": False, "data": None, "error": {"code": "timeout"}})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Yes.", "yes"),
        ("YES!", "yes"),
        ("a  quick\nanswer", " A quick answer. "),
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
        (1, 1),
    ],
)
def test_these_answers_are_equal(one: Any, other: Any) -> None:
    assert vote(one).ballot == vote(other).ballot


@pytest.mark.parametrize(
    ("one", "other"), [("yes", "yes?"), ("yes", "no"), ([1, 2], [2, 1]), ({"a": 1}, {"a": 2})]
)
def test_these_answers_differ(one: Any, other: Any) -> None:
    assert vote(one).ballot != vote(other).ballot


def test_more_than_half_of_the_agents_are_a_majority() -> None:
    votes = [vote("no", "a"), vote("Yes", "b"), vote("yes.", "c")]

    assert majority(votes, 3) == votes[1]
    assert majority(votes, 4) is None


def test_agents_that_failed_do_not_agree_but_count_as_asked() -> None:
    assert majority([failure("a"), failure("b"), vote("yes", "c")], 3) is None
    assert majority([vote("yes", "a"), vote("yes", "b"), failure("c")], 3) is not None
    assert majority([], 1) is None
