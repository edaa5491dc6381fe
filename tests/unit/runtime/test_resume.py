"""Which messages on the subject of approvals are decisions."""

from __future__ import annotations

import json

import pytest

from agentd.runtime.resume import is_decision


def message(content: object) -> bytes:
    return json.dumps({"payload": {"content": content}}).encode()


@pytest.mark.parametrize("decision", ["approve", "deny"])
def test_a_decision_is_recognized(decision: str) -> None:
    assert is_decision(message({"decision": decision, "task": "t1"}))


@pytest.mark.parametrize(
    "data",
    [
        message({"event": "approval_requested", "task": "t1"}),
        message({"decision": "perhaps"}),
        message("approve"),
        b'{"payload": {}}',
        b"[]",
        b"approve",
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_anything_else_is_not(data: bytes) -> None:
    assert not is_decision(data)
