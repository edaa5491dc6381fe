"""Approval requests and decisions, read from the contents of events."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentd.errors import AgentdError, TaskError, UsageError
from agentd.queue.decisions import (
    ApprovalRequest,
    Decision,
    Dialogue,
    decision_of,
    request_of,
    require_meaning,
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


def question(index: int = 0, **more: Any) -> dict[str, Any]:
    return {"index": index, "name": "ask_person", "arguments": {}, "question": "Which?", **more}


def asking(*calls: dict[str, Any]) -> ApprovalRequest:
    return ApprovalRequest(
        sequence=10, task="t", agent="me", life=3, turn=2, calls=calls, expires=0.0
    )


def decided(request: ApprovalRequest, **content: Any) -> set[int]:
    """The calls that a decision is about."""
    decision = decision_of(content, 11)
    assert decision
    return {index for index in request.indexes if decision.is_about(request, index)}


def test_a_question_and_the_schemas_are_read_from_a_request() -> None:
    asked = question(choices=["a", "b"], default="a")
    calls = [*REQUEST["calls"], {**asked, "index": 1, "other": 1}]
    found = request_of({**REQUEST, "calls": calls, "schemas": {"pay": {"type": "object"}, "x": 1}})

    assert found
    assert found.calls[1] == {**asked, "index": 1}
    assert found.schemas == {"pay": {"type": "object"}}


def test_a_strange_question_is_read_as_far_as_it_makes_sense() -> None:
    strange = [
        question(choices=[], default=5),
        question(1, choices=["a", 7]),
        {**question(2), "question": 5, "choices": ["a"]},
    ]
    found = request_of({**REQUEST, "calls": strange, "schemas": []})

    assert found
    first, second, third = found.calls
    assert (first, second) == (question(), question(1))
    assert third == {"index": 2, "name": "ask_person", "arguments": {}}
    assert found.schemas == {}


@pytest.mark.parametrize(
    "content",
    [
        {"decision": "edit"},
        {"decision": "edit", "arguments": [1]},
        {"decision": "answer"},
        {"decision": "answer", "answer": " "},
        {"decision": "answer", "answer": 5},
        {"decision": "answer", "answer": "x" * 32_001},
    ],
    ids=lambda content: str(content)[:60],
)
def test_an_edit_without_arguments_and_an_answer_without_text_are_no_decisions(
    content: dict[str, Any],
) -> None:
    assert decision_of(content) is None


def test_an_edit_is_about_exactly_one_call() -> None:
    one, two = request(0), request(0, 1)

    assert decided(one, decision="edit", arguments={"usd": 1}) == {0}
    assert decided(two, decision="edit", arguments={"usd": 1}, calls=[1]) == {1}
    assert decided(two, decision="edit", arguments={"usd": 1}) == set()
    assert decided(asking(question()), decision="edit", arguments={}) == set()


def test_an_answer_is_about_exactly_one_question() -> None:
    pay = {"index": 0, "name": "pay", "arguments": {}}
    mixed = asking(pay, question(1, choices=["a", "b"]))

    assert decided(mixed, decision="answer", answer="a") == {1}
    assert decided(mixed, decision="answer", answer="c") == set()
    assert decided(mixed, decision="answer", answer="a", calls=[0]) == set()
    assert decided(asking(question(), question(1)), decision="answer", answer="x") == set()
    assert decided(asking(question(), question(1)), decision="answer", answer="x", calls=[1]) == {1}
    assert decided(mixed, decision="approve") == {0}
    assert decided(mixed, decision="deny") == {0, 1}


@pytest.mark.parametrize(
    ("content", "verb"),
    [
        ({"decision": "approve"}, "approved"),
        ({"decision": "deny"}, "denied"),
        ({"decision": "edit", "arguments": {}}, "edited"),
        ({"decision": "answer", "answer": "x"}, "answered"),
    ],
)
def test_a_decision_says_what_it_does(content: dict[str, Any], verb: str) -> None:
    found = decision_of(content)

    assert found
    assert found.verb == verb


PAY_SCHEMA = {"type": "object", "properties": {"usd": {"type": "number", "maximum": 9}}}
PAY = {"index": 0, "name": "pay", "arguments": {"usd": 5}}


@pytest.mark.parametrize(
    ("content", "error", "text"),
    [
        ({"decision": "approve", "calls": [0, 7]}, UsageError, "has no call 7; it has 0, 1, 2"),
        ({"decision": "approve", "calls": [1]}, UsageError, "asks a question: answer it"),
        ({"decision": "edit", "arguments": {"usd": 10}}, TaskError, "['usd']: 10 is greater"),
        ({"decision": "edit", "arguments": [1]}, TaskError, "is not of type 'object'"),
        ({"decision": "edit", "arguments": {}, "calls": [1]}, UsageError, "has no call to edit"),
        ({"decision": "answer", "answer": "x"}, UsageError, "2 calls that could be meant"),
        ({"decision": "answer", "answer": "x", "calls": [0]}, UsageError, "has no question"),
        ({"decision": "answer", "answer": "c", "calls": [1]}, TaskError, "must be one of: a, b"),
        ({"decision": "answer", "answer": "", "calls": [2]}, TaskError, "a text of 1 to 32,000"),
        ({"decision": "approve"}, None, ""),
        ({"decision": "deny", "calls": [1]}, None, ""),
        ({"decision": "edit", "arguments": {"usd": 9}}, None, ""),
        ({"decision": "answer", "answer": "a", "calls": [1]}, None, ""),
    ],
)
async def test_a_decision_that_means_nothing_is_refused_before_it_is_stored(
    content: dict[str, Any], error: type[AgentdError] | None, text: str
) -> None:
    request = replace(
        asking(PAY, question(1, choices=["a", "b"]), question(2)), schemas={"pay": PAY_SCHEMA}
    )
    if error is None:
        await require_meaning(request, content)
        assert decided(request, **content)
        return
    with pytest.raises(error) as refused:
        await require_meaning(request, content)
    assert text in str(refused.value)
    assert getattr(refused.value, "code", "invalid_input") == "invalid_input"
