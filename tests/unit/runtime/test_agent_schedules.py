"""When a schedule is due next, and how it is shown."""

from __future__ import annotations

import pytest

from agentd.nats.schedules import Timing
from agentd.runtime.agent_schedules import in_words, next_time


@pytest.mark.parametrize(
    ("timing", "words"),
    [
        (Timing.every(3600), "every 1h"),
        (Timing.every(90), "every 90s"),
        (Timing.every(1.5), "every 1.5s"),
        (Timing.every(2 * 86400), "every 2d"),
        (Timing("0 0 7 * * 1-5"), "0 0 7 * * 1-5"),
        (Timing("@every 1h30m"), "@every 1h30m"),
        (Timing("0 0 7 * * 1-5", "Asia/Tokyo"), "0 0 7 * * 1-5 (Asia/Tokyo)"),
    ],
)
def test_a_timing_in_words(timing: Timing, words: str) -> None:
    assert in_words(timing) == words


def test_a_moment_is_due_at_its_time() -> None:
    assert next_time(Timing.at(5)) == 5


def test_cron_fields_are_due_at_the_next_time_that_matches_them() -> None:
    assert (next_time(Timing("0 0 7 * * *")) or 0) % 86400 == 7 * 3600


@pytest.mark.parametrize(
    "timing", [Timing.every(5), Timing("0 0 7 * * *", "No/Where"), Timing("*-5 0 7 * * *")]
)
def test_the_next_time_is_unknown_for_intervals_and_for_what_other_programs_write(
    timing: Timing,
) -> None:
    assert next_time(timing) is None
