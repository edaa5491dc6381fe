"""Which messages of the log were erased on purpose."""

from __future__ import annotations

import pytest

from agentd.protocol import erasure
from agentd.protocol.subjects import RUNTIME_EVENTS, Subject


@pytest.mark.parametrize(
    ("sequences", "expected"),
    [([], []), ([7], [[7, 7]]), ([9, 3, 4, 5, 4], [[3, 5], [9, 9]]), ([2, 1], [[1, 2]])],
)
def test_runs_of_sequences(sequences: list[int], expected: list[list[int]]) -> None:
    assert erasure.ranges(sequences) == expected


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("agents.dev.event.dlq.retried", True),
        ("agents.dev.event.conversation.forgotten", True),
        ("agents.dev.event.review.done", False),
        ("agents.dev.task.dlq.retried", False),
    ],
)
def test_only_events_that_no_agent_can_emit_say_what_was_erased(
    subject: str, expected: bool
) -> None:
    assert erasure.may_erase(Subject.parse(subject)) is expected
    assert erasure.DOMAINS <= RUNTIME_EVENTS
