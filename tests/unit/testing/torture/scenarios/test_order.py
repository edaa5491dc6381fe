"""The share of pairs that ran in the order of their priorities."""

from __future__ import annotations

import pytest

from agentd.testing.torture.scenarios.order import pairs_in_order


@pytest.mark.parametrize(
    ("priorities", "share"),
    [
        ([], 1.0),
        ([5, 5, 5], 1.0),
        ([9, 5, 5, 0], 1.0),
        ([0, 9], 0.0),
        ([9, 0, 5], 2 / 3),  # of 9-0, 9-5, 0-5 the last is wrong
        ([5, 9, 5], 1 / 2),  # 5-9 is wrong, 9-5 is right, 5-5 does not count
    ],
)
def test_pairs_of_different_priorities_are_compared(priorities: list[int], share: float) -> None:
    assert pairs_in_order(priorities) == pytest.approx(share)
