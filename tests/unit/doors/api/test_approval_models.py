"""What `/api/approvals` says of requests and decisions fits what it says of itself."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema
import pytest

from agentd.doors.api.approval_models import (
    NewDecision,
    approval_document,
    decided_document,
    record_document,
)
from agentd.doors.api.approvals import routes
from agentd.doors.api.described import document
from agentd.doors.api.models import parsed
from agentd.errors import DecodeError
from agentd.queue.decisions import ApprovalRequest, Decision, Dialogue
from tests.unit.doors.api.test_described import BACKEND


@cache
def described() -> dict[str, Any]:
    return document(routes(BACKEND), version="1.2")


REQUEST = ApprovalRequest(
    sequence=1,
    task="t",
    agent="me",
    life=1,
    turn=2,
    calls=[
        {"index": 0, "name": "pay", "arguments": {"usd": 5}},
        {"index": 1, "name": "ask_person", "arguments": {}, "question": "?", "choices": ["a", "b"]},
        {"index": 2, "name": "pay", "arguments": {}},
    ],
    expires=1_700_000_000.5,
    schemas={"pay": {"type": "object"}},
)
DECISIONS = [
    Decision(
        sequence=2,
        approve=True,
        by="eve",
        reason="half",
        arguments={"usd": 3},
        calls=frozenset({0}),
    ),
    Decision(sequence=3, approve=True, by="bob", answer="a"),
]


def conforms(name: str, value: object) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": described()["components"]}
    jsonschema.validate(value, schema, jsonschema.Draft202012Validator)


def test_a_request_fits_its_description() -> None:
    shown = approval_document(REQUEST)
    conforms("Approval", shown)
    conforms("Approvals", {"approvals": [shown]})
    assert (shown["task"], shown["schemas"]) == ("t", {"pay": {"type": "object"}})
    assert shown["expires"] == "2023-11-14T22:13:20+00:00"


def test_decisions_fit_their_description() -> None:
    shown = record_document(REQUEST, Dialogue([REQUEST], DECISIONS))
    conforms("Approval", shown)
    edited, answered, open_ = shown["decisions"]
    assert (edited["decision"], edited["by"], edited["arguments"]) == ("edited", "eve", {"usd": 3})
    assert (answered["decision"], answered["by"], answered["answer"]) == ("answered", "bob", "a")
    assert open_ == {"index": 2, "name": "pay", "decision": None}
    decided = decided_document(REQUEST, Dialogue([REQUEST], DECISIONS).verdicts(REQUEST))
    conforms("Decided", decided)
    assert decided["undecided"] == 1


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"decision": "yes"}, "decision"),
        ({"decision": "approve", "by": "eve"}, "by"),
        ({"decision": "approve", "calls": []}, "calls"),
        ({"decision": "edit"}, "arguments"),
        ({"decision": "answer"}, "answer"),
        ({"decision": "approve", "arguments": {}}, "arguments"),
        ({"decision": "deny", "answer": "a"}, "answer"),
        ({"decision": "answer", "answer": ""}, "answer"),
    ],
)
def test_a_mistake_in_a_decision_is_named(body: dict[str, Any], place: str) -> None:
    with pytest.raises(DecodeError) as refused:
        parsed(json.dumps(body).encode(), NewDecision)
    assert place in str(refused.value)
