"""A request knows how long it may wait, and usages add up."""

from __future__ import annotations

import pytest

from agentd.models.port import ChatRequest, Usage

HI = ({"role": "user", "content": "hi"},)


@pytest.mark.parametrize(
    ("timeout", "patience", "longest"), [(5.0, None, 5.0), (5.0, 2.0, 2.0), (1.0, 2.0, 1.0)]
)
def test_a_call_waits_no_longer_than_its_timeout_and_its_patience(
    timeout: float, patience: float | None, longest: float
) -> None:
    assert ChatRequest(HI, {}, timeout, patience=patience).longest_wait == longest


def test_time_that_has_passed_shortens_the_timeout_and_nothing_else() -> None:
    request = ChatRequest(HI, {"seed": 1}, 5.0, agent="a", patience=2.0)

    assert request.after(1.5) == ChatRequest(HI, {"seed": 1}, 3.5, agent="a", patience=2.0)


def test_usages_are_added_part_by_part() -> None:
    assert Usage(1, 2, 3, 4, 5) + Usage(10, 20, 30, 40, 50) == Usage(11, 22, 33, 44, 55)
    assert Usage(100, 20, reasoning_tokens=8, cache_read=64).total == 120
