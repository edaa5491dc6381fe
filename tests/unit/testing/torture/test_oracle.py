"""The oracle of the torture suite reports every kind of broken promise."""

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


def test_evidence_that_keeps_all_promises_passes() -> None:
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
        (replace(FINE, outcomes={**FINE.outcomes, "x": [ANSWER]}), "were never sent: x"),
        (replace(FINE, outcomes={**FINE.outcomes, "b": [ERROR]}), "the wrong outcome: b (malf"),
        (replace(FINE, logged={"a": 1}), "acknowledged, but are not in the log: b"),
        (replace(FINE, logged={"a": 2, "b": 1}), "in the log twice"),
        (replace(FINE, calls={"a": [98.0, 99.0]}), "1 extra model calls, but only 0 are"),
        (replace(FINE, calls={"a": [100.1 + SLACK]}), "after their result was stored: a"),
        (replace(FINE, dead_letters={"a": [LETTER]}), "does not explain: a (malformed)"),
        (replace(FINE, dead_letters={"a": [LETTER]}), "both a dead letter and an answer: a"),
        (replace(FINE, waiting=3), "3 messages are still in the work queue"),
        (replace(FINE, unacknowledged=4), "4 deliveries were never settled"),
    ],
)
def test_a_broken_promise_is_reported(seen: Evidence, sentence: str) -> None:
    assert any(sentence in broken for broken in judge(seen, Allowed()).broken)


def test_a_publish_that_was_tried_but_not_accepted_may_have_an_outcome() -> None:
    seen = replace(FINE, accepted=["a"])
    assert judge(seen, Allowed()).broken == ()


def test_calls_that_kills_explain_are_allowed() -> None:
    seen = replace(FINE, calls={"a": [97.0, 98.0, 99.0]})
    assert judge(seen, Allowed(extra_calls=2)).broken == ()
    assert judge(seen, Allowed(extra_calls=1)).broken != ()


def test_late_calls_are_allowed_up_to_the_given_number() -> None:
    seen = replace(FINE, calls={"a": [105.0], "b": [105.0]})
    assert judge(seen, Allowed(late_calls=2)).broken == ()
    assert "1 tasks" in judge(seen, Allowed(late_calls=1)).broken[0]


def test_a_call_within_the_slack_after_the_result_is_not_late() -> None:
    seen = replace(FINE, calls={"a": [101.0]})
    assert judge(seen, Allowed(slack=1.0)).broken == ()
    assert judge(seen, Allowed(slack=0.9)).broken != ()


def test_a_task_that_must_fail_for_good_has_one_dead_letter_with_its_reason() -> None:
    allowed = Allowed(dead={"b": "malformed"})
    dead = replace(FINE, outcomes={**FINE.outcomes, "b": [ERROR]}, calls={"a": [99.0]})
    assert judge(replace(dead, dead_letters={"b": [LETTER]}), allowed).broken == ()
    assert "b (none instead of malformed)" in judge(dead, allowed).broken[0]
    twice = replace(dead, dead_letters={"b": [LETTER, LETTER]})
    assert "b (malformed, malformed" in judge(twice, allowed).broken[0]
    other = replace(dead, dead_letters={"b": [replace(LETTER, reason="expired")]})
    assert "b (expired instead of malformed)" in judge(other, allowed).broken[0]


def test_a_task_that_must_fail_may_not_succeed() -> None:
    assert judge(FINE, Allowed(failing=["a"])).broken == (
        "1 tasks ended with the wrong outcome: a (None)",
    )


def test_tasks_may_be_missing_from_a_log_that_was_deleted() -> None:
    seen = replace(FINE, logged={})
    assert judge(seen, Allowed(log_lost=True)).broken == ()
    assert judge(replace(seen, outcomes={}), Allowed(log_lost=True)).broken != ()


def test_a_conversation_may_cost_at_most_its_budget_and_what_its_account_says() -> None:
    def broken(served: float, accounted: float) -> str:
        money = {"c": Spending(served=served, accounted=accounted)}
        return " ".join(judge(replace(FINE, spending=money), Allowed(budget=0.5)).broken)

    assert broken(0.5, 0.5) == ""
    assert broken(0.3, 0.5) == ""  # a replica died before its call: reserved money counts
    assert broken(0.6, 0.6) == "1 conversations spent more than their budget: c"
    assert broken(0.4, 0.6) == "1 conversations spent more than their budget: c"
    assert (
        broken(0.4, 0.3) == "1 conversations had model calls that their account does not contain: c"
    )


def test_a_long_list_is_cut_short() -> None:
    many = [f"t{number}" for number in range(10)]
    [lost, *_] = judge(replace(FINE, tried=many, accepted=many, outcomes={}), Allowed()).broken
    assert lost.startswith("10 tasks were lost")
    assert lost.endswith("t0, t1, t2, …")
