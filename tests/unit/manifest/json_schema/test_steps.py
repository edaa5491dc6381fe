"""The steps of a check: counted, and shared by the checks inside a block."""

from __future__ import annotations

import pytest

from agentd.manifest.json_schema.steps import TooManySteps, at_most, current


def test_a_check_ends_at_its_last_step() -> None:
    with at_most(2):
        current().spend(2)
        with pytest.raises(TooManySteps):
            current().spend(1)


def test_an_inner_check_has_no_more_steps_than_the_outer_one_has_left() -> None:
    with at_most(10) as all_checks:
        with at_most(7):
            current().spend(7)
        assert all_checks.left == 3
        with at_most(7) as second:
            assert second.left == 3
            with pytest.raises(TooManySteps):
                second.spend(4)
        with at_most(7) as third:
            assert third.left == 0


def test_work_that_cannot_be_counted_costs_its_time() -> None:
    with at_most(1_000) as steps:
        with steps.timed() as seconds:
            sum(range(20_000))
        assert 0 < steps.left < 1_000
        assert seconds == pytest.approx(0.01)


def test_work_that_takes_too_long_takes_too_many_steps() -> None:
    with at_most(1_000) as steps, pytest.raises(TooManySteps), steps.timed():
        raise TimeoutError
