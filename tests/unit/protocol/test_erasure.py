"""Which messages of the log were erased on purpose."""

from __future__ import annotations

from typing import Any

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


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"erased": [[3, 5], [9, 9]]}, ((3, 5), (9, 9))),
        ({"erased": [[5, 3], [0, 4], [1], [1, 2, 3], "x", ["1", 2], [1, 2**60], [True, 1.5]]}, ()),
        ({"erased": {"3": 5}}, ()),
        ({}, ()),
        ("erased", ()),
        (None, ()),
    ],
)
def test_what_an_event_names_is_checked(content: Any, found: tuple[tuple[int, int], ...]) -> None:
    assert erasure.named(content) == found


def test_only_some_ranges_of_an_event_are_read() -> None:
    assert len(erasure.named({"erased": [[1, 1]] * 20_000})) == 10_000
