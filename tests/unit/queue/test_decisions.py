"""Approval requests and decisions, read from the contents of events."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.queue.decisions import (
    ApprovalRequest,
    Decision,
    Dialogue,
    decision_of,
    request_of,
)

REQUEST: dict[str, Any] = {
    "event": "approval_requested",
    "task": "t",
    "agent": "me",
    "life": 3,
    "turn": 2,
    "calls": [{"index": 0, "name": "pay", "arguments": {"amount": 5}}],
    "expires": "2030-01-01T00:00:00+00:00",
}


def request(*indexes: int, turn: int = 2, sequence: int = 10) -> ApprovalRequest:
    calls = [{"index": each, "name": "pay", "arguments": {}} for each in indexes]
    return ApprovalRequest(
        sequence=sequence, task="t", agent="me", life=3, turn=turn, calls=calls, expires=0.0
    )


def test_a_request_is_read_from_its_event() -> None:
    found = request_of(REQUEST, 7)

    assert found is not None
    assert (found.sequence, found.task, found.life, found.turn) == (7, "t", 3, 2)
    assert found.indexes == {0}
    assert found.expires == 1_893_456_000.0


@pytest.mark.parametrize(
    "change",
    [{"turn": None}, {"calls": [{}]}, {"calls": 5}, {"expires": "soon"}, {"life": "x"}],
    ids=str,
)
def test_an_event_that_is_no_request_is_none(change: dict[str, Any]) -> None:
    assert request_of({**REQUEST, **change}) is None
    assert request_of("text") is None


def test_a_decision_is_read_from_its_event() -> None:
    content = {"decision": "deny", "turn": 2, "calls": [0, "x"], "by": "ann", "reason": "too much"}
    found = decision_of(content, 11)

    assert found is not None
    assert found == Decision(
        sequence=11, approve=False, turn=2, calls=frozenset({0}), by="ann", reason="too much"
    )
    assert found.refusal == "this call was denied by ann: too much"


@pytest.mark.parametrize(
    "content",
    ["text", {}, {"decision": "maybe"}, {"decision": "approve", "turn": "2"},
     {"decision": "approve", "calls": 0}],
    ids=str,
)  # fmt: skip
def test_an_event_that_is_no_decision_is_none(content: Any) -> None:
    assert decision_of(content) is None


def test_a_plain_decision_covers_every_call_of_any_turn() -> None:
    decision = Decision(sequence=11, approve=True)

    assert decision.is_about(request(0, 1), 1)
    assert decision.is_about(request(0, turn=9), 0)
    assert Decision(sequence=11, approve=False).refusal == "this call was denied"


def test_a_decision_covers_only_its_turn_and_its_calls() -> None:
    decision = Decision(sequence=11, approve=True, turn=2, calls=frozenset({1}))

    assert decision.is_about(request(0, 1), 1)
    assert not decision.is_about(request(0, 1), 0)
    assert not decision.is_about(request(0, 1, turn=3), 1)


def test_a_decision_before_its_request_does_not_count() -> None:
    assert not Decision(sequence=10, approve=True).is_about(request(0, sequence=10), 0)


def test_the_first_decision_on_a_call_counts() -> None:
    deny = Decision(sequence=11, approve=False, calls=frozenset({0}))
    approve = Decision(sequence=12, approve=True)
    dialogue = Dialogue([request(0, 1)], [deny, approve])

    assert dialogue.verdicts(request(0, 1)) == {0: deny, 1: approve}
    assert dialogue.is_decided(request(0, 1))
    assert dialogue.verdicts(request(0, 1), before=12) == {0: deny}
    assert not Dialogue([request(0, 1)], [deny]).is_decided(request(0, 1))
