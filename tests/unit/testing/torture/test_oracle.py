"""The oracle of the torture suite notices every kind of broken promise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentd.testing.torture.oracle import (
    SLACK,
    Allowed,
    Evidence,
    SeenDeadLetter,
    SeenOutcome,
    Spending,
    judge,
)

ANSWER = SeenOutcome(at=100.0, success=True)
ERROR = SeenOutcome(at=100.0, success=False, code="malformed")
LETTER = SeenDeadLetter(reason="malformed", attempts=1)

FINE = Evidence(
    tried=["a", "b"],
    accepted=["a", "b"],
    logged={"a": 1, "b": 1},
    outcomes={"a": [ANSWER], "b": [ANSWER]},
    calls={"a": [99.0], "b": [99.0]},
)


def test_nothing_is_wrong_with_what_is_fine() -> None:
    verdict = judge(FINE, Allowed())
    assert verdict.broken == ()
    assert verdict.figures == {
        "tasks": 2,
        "lost": 0,
        "doubled": 0,
        "extra_calls": 0,
        "dead_letters": 0,
    }


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (replace(FINE, outcomes={"a": [ANSWER]}), "1 tasks were lost"),
        (replace(FINE, outcomes={**FINE.outcomes, "a": [ANSWER, ANSWER]}), "have two outcomes: a"),
        (replace(FINE, outcomes={**FINE.outcomes, "x": [ANSWER]}), "nobody sent them: x"),
        (replace(FINE, outcomes={**FINE.outcomes, "b": [ERROR]}), "as they should not: b (malf"),
        (replace(FINE, logged={"a": 1}), "acknowledged, but are not in the log: b"),
        (replace(FINE, logged={"a": 2, "b": 1}), "in the log twice"),
        (replace(FINE, calls={"a": [98.0, 99.0]}), "1 model calls too many, 0 would be"),
        (replace(FINE, calls={"a": [100.1 + SLACK]}), "paid for again"),
        (replace(FINE, letters={"a": [LETTER]}), "for no reason of this scenario: a (malformed)"),
        (replace(FINE, letters={"a": [LETTER]}), "have a dead letter and an answer: a"),
        (replace(FINE, waiting=3), "3 messages are still in WORK"),
        (replace(FINE, unacknowledged=4), "4 deliveries were never settled"),
    ],
)
def test_a_broken_promise_is_told(seen: Evidence, sentence: str) -> None:
    assert any(sentence in told for told in judge(seen, Allowed()).broken)


def test_a_publish_that_was_tried_but_not_accepted_may_have_an_outcome() -> None:
    seen = replace(FINE, accepted=["a"])
    assert judge(seen, Allowed()).broken == ()


def test_calls_that_kills_explain_are_allowed() -> None:
    seen = replace(FINE, calls={"a": [97.0, 98.0, 99.0]})
    assert judge(seen, Allowed(extra_calls=2)).broken == ()
    assert judge(seen, Allowed(extra_calls=1)).broken != ()


def test_so_many_late_calls_are_allowed() -> None:
    seen = replace(FINE, calls={"a": [105.0], "b": [105.0]})
    assert judge(seen, Allowed(late_calls=2)).broken == ()
    assert "1 tasks" in judge(seen, Allowed(late_calls=1)).broken[0]


def test_what_must_die_has_one_letter_with_its_reason() -> None:
    allowed = Allowed(dead={"b": "malformed"})
    dead = replace(FINE, outcomes={**FINE.outcomes, "b": [ERROR]}, calls={"a": [99.0]})
    assert judge(replace(dead, letters={"b": [LETTER]}), allowed).broken == ()
    assert "b (no letter" in judge(dead, allowed).broken[0]
    twice = replace(dead, letters={"b": [LETTER, LETTER]})
    assert "b (malformed, malformed" in judge(twice, allowed).broken[0]
    other = replace(dead, letters={"b": [replace(LETTER, reason="expired")]})
    assert "b (expired instead of malformed)" in judge(other, allowed).broken[0]


def test_what_must_fail_may_not_succeed() -> None:
    assert judge(FINE, Allowed(failing=["a"])).broken == (
        "1 tasks ended as they should not: a (None)",
    )


def test_a_deleted_log_cannot_hold_what_it_held() -> None:
    seen = replace(FINE, logged={})
    assert judge(seen, Allowed(log_lost=True)).broken == ()
    assert judge(replace(seen, outcomes={}), Allowed(log_lost=True)).broken != ()


def test_a_conversation_may_not_cost_more_than_its_limit_or_its_account() -> None:
    def told(served: float, accounted: float) -> str:
        money = {"c": Spending(served=served, accounted=accounted)}
        return " ".join(judge(replace(FINE, spending=money), Allowed(budget=0.5)).broken)

    assert told(0.5, 0.5) == ""
    assert told(0.3, 0.5) == ""  # a replica died before its call: what it set aside counts
    assert told(0.6, 0.6) == "1 conversations spent more than they may: c"
    assert told(0.4, 0.6) == "1 conversations spent more than they may: c"
    assert told(0.4, 0.3) == "1 conversations were served what is not accounted: c"


def test_a_long_list_is_cut_short() -> None:
    many = [f"t{number}" for number in range(10)]
    [lost, *_] = judge(replace(FINE, tried=many, accepted=many, outcomes={}), Allowed()).broken
    assert lost.startswith("10 tasks were lost")
    assert lost.endswith("t0, t1, t2, …")
