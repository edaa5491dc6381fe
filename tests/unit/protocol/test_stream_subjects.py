"""What the streams hold, and what reaches the next stream."""

from __future__ import annotations

import pytest

from agentd.protocol.stream_subjects import (
    DUE_TRANSFORMS,
    LOGGED,
    SCHEDULED,
    STREAMED,
    due,
    impossible_transform,
    not_due,
)
from agentd.protocol.subjects import Subjects, matches

DEV = Subjects("dev")


@pytest.mark.parametrize(
    "subject",
    [
        DEV.task("analysis", "x"),
        DEV.task("analysis", "x", 9),
        DEV.result("analysis", "x", "t-1"),
        DEV.event("status", "ready"),
        DEV.dlq("analysis", "x"),
    ],
)
def test_the_log_stores_a_public_subject_once(subject: str) -> None:
    assert len([pattern for pattern in LOGGED if matches(pattern, subject)]) == 1


@pytest.mark.parametrize(
    "subject",
    [
        f"{DEV.task('analysis', 'x')}.urgent",
        DEV.query("analysis", "x"),
        DEV.stream("t"),
        DEV.schedule("agent", "analyst"),
    ],
)
def test_the_log_stores_nothing_else(subject: str) -> None:
    assert not any(matches(pattern, subject) for pattern in LOGGED)


def test_deltas_have_a_stream_of_their_own() -> None:
    assert [matches(pattern, DEV.stream("t")) for pattern in STREAMED] == [True]


@pytest.mark.parametrize(
    ("subject", "stored"),
    [
        (DEV.task("analysis", "x"), True),
        (DEV.task("analysis", "x", 9), True),
        (DEV.event("report", "ready"), True),
        (f"{DEV.task('analysis', 'x')}.urgent", False),
        (DEV.result("analysis", "x", "t-1"), False),
        (DEV.dlq("analysis", "x"), False),
    ],
)
def test_only_tasks_and_events_can_be_due(subject: str, stored: bool) -> None:
    assert not_due(due(subject)) == subject
    assert any(matches(pattern, due(subject)) for pattern in SCHEDULED) is stored
    assert any(matches(pattern, due(subject)) for pattern in DUE_TRANSFORMS) is (
        stored or subject.endswith("urgent")
    )


def test_an_impossible_transform_applies_to_nothing() -> None:
    for root, subject in (("agents", DEV.task("a", "b", 7)), ("due", due(DEV.event("a", "b")))):
        source, _ = impossible_transform(root, 7)
        assert not matches(source, subject)
